"""Deleting objects from an S3 server, and nothing else than deleting them.

pyarrow's delete puts an empty object at the parent "folder" each time (apache/arrow issue 36275). Amazon's S3 bears it;
servers that keep objects as files then find a file where they need a folder.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

_ATTEMPTS = 4
_SECONDS = 30.0
_NO_CONTENT = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class ObjectServer:
    """An S3 server that is not Amazon's, with path-style addresses. endpoint: host:port."""

    scheme: str
    endpoint: str
    region: str

    def delete(self, path: str) -> None:
        """Delete the object at bucket/key, with the keys of the environment. That there is none is no error.

        Raises:
            OSError: the server refuses, or cannot be reached after several attempts.
        """
        for attempt in range(_ATTEMPTS):
            try:
                status, answer = self._send("DELETE", f"/{quote(path, safe='/-_.~')}")
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, repr(error)
            if 200 <= status < 300 or status == 404:
                return
            if 400 <= status < 500:
                break
            time.sleep(0.1 * 2**attempt)
        raise OSError(f"the server at {self.endpoint} answered {status or 'nothing'}: {answer[:300]}")

    def _send(self, method: str, path: str) -> tuple[int, str]:
        connect = http.client.HTTPSConnection if self.scheme == "https" else http.client.HTTPConnection
        connection = connect(self.endpoint, timeout=_SECONDS)
        try:
            connection.request(method, path, headers=self._signed(method, path))
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def _signed(self, method: str, path: str) -> dict[str, str]:
        """Headers with a signature: docs.aws.amazon.com, "Create a signed AWS API request" (version 4)."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self.endpoint, "x-amz-content-sha256": _NO_CONTENT, "x-amz-date": now}
        if token := os.environ.get("AWS_SESSION_TOKEN"):
            headers["x-amz-security-token"] = token
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"{method}\n{path}\n\n{lines}\n{names}\n{_NO_CONTENT}"
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
        for part in (*scope.split("/"), to_sign):
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
        )
        return headers
