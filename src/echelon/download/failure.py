"""How a download can fail, where it matters to whoever asked for it."""

from __future__ import annotations

from echelon.errors import DataError, EchelonError, StorageError


class Refused(EchelonError):
    """The server does not give it. status: its answer, of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Forbidden(EchelonError):
    """We do not ask: the site's robots.txt, or our own rules, forbid it."""


class Oversized(DataError):
    """The file has more bytes than the limits of the download allow."""


class Unreachable(StorageError):
    """The server cannot be reached, or breaks off again and again; it has nothing to do with this machine's disk."""


class Busy(Unreachable):
    """The server asks to be left alone for longer than the limits of the download."""
