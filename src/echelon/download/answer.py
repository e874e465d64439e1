"""What the head of an answer says (RFC 9110)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which it is worth asking again."""
_NUMBER = "[0-9]{1,18}"
"""Python takes no numbers of thousands of digits, and no file has so many bytes."""


def status_of(response: BaseHTTPResponse) -> str:
    return f"{response.status} {response.reason or ''}".strip()


def validator_of(response: BaseHTTPResponse) -> str | None:
    """A name of this version that can be asked for again; a weak one is not exact to the byte."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def start_of(response: BaseHTTPResponse) -> int | None:
    found = re.match(rf"bytes ({_NUMBER})-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def total_of(response: BaseHTTPResponse) -> int | None:
    """Bytes of the whole file, as the server says."""
    said = response.headers.get("Content-Length") if response.status == 200 else None
    if said is None:
        said = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(said) if re.fullmatch(_NUMBER, said) else None
