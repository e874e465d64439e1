"""What is to be downloaded, and whether a file on the disk is it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from echelon.errors import EchelonError

_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True)
class File:
    """A published file.

    url: http or https. name: of the file in the folder that it is brought to. size: bytes, if published. digest: as
    "md5:<hex>" or sha1, sha256, sha512, if published; without one only the size can be checked.

    Raises:
        EchelonError: the URL, the name or the digest is none; a name must not lead out of the folder.
    """

    url: str
    name: str
    size: int | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise EchelonError(f"'{self.url}' cannot be downloaded: give an address with http:// or https://")
        if not re.fullmatch(r"[^\x00-\x1f/\\:]+", self.name) or self.name.startswith("."):
            raise EchelonError(f"{self.url} cannot be stored as '{self.name}': give the plain name of a file")
        if self.size is not None and self.size < 0:
            raise EchelonError(f"the size of {self.name} must not be negative, got {self.size}")
        if self.digest is not None:
            algorithm, _, digits = self.digest.partition(":")
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) != _DIGITS.get(algorithm):
                raise EchelonError(
                    f"'{self.digest}' is no checksum: write {', '.join(_DIGITS)}, a colon and its hexadecimal digits"
                )

    @property
    def shown_url(self) -> str:
        """The address as it may be shown and logged: without a password and without a signed query."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        return False


def fault_of(path: Path, file: File) -> str | None:
    """What is wrong with a file on the disk that should be the published one; None if nothing is."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes instead of {file.size:,}"
    if file.digest is None:
        return None
    algorithm, _, digits = file.digest.partition(":")
    with path.open("rb") as content:
        found = hashlib.file_digest(content, algorithm).hexdigest()
    return None if found == digits.lower() else f"its {algorithm} is {found} instead of {digits.lower()}"
