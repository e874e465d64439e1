"""Which addresses a server may send us on to. Imports urllib3, so it is imported where a download begins."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import urljoin

from urllib3.util import Retry

from echelon.errors import EchelonError


class SafeRedirects(Retry):
    """Follows redirects, but never from https to http, where anybody on the way can change what comes."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        """
        Raises:
            EchelonError: the answer leads from https to http.
        """
        leads = response.get_redirect_location() if response is not None else None
        if url and leads and url.startswith("https:") and urljoin(url, leads).startswith("http:"):
            raise EchelonError(
                f"the server leads on to {urljoin(url, leads).partition('?')[0]}, which is not encrypted, and no "
                "checksum is known that would show a change: give the checksum, or another address"
            )
        return super().increment(method, url, response, error, _pool, _stacktrace)
