"""Tries that end early: which of them are worth another one, and when it may begin."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from echelon.download.failure import Busy, Unreachable
from echelon.download.limits import Limits
from echelon.download.part import Part
from echelon.errors import EchelonError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry


class Broken(Exception):
    """A try that ended early. response: of a server that is busy."""

    def __init__(self, reason: str, response: BaseHTTPResponse | None = None) -> None:
        super().__init__(reason)
        self.response = response


def patience(limits: Limits) -> Retry:
    """The tries that there are, and how long it is between them.

    Raises:
        EchelonError: urllib3 is not installed.
    """
    try:
        from urllib3.util import Retry
    except ImportError:
        raise EchelonError("urllib3 is not installed, which downloads: pip install 'echelon[download]'") from None
    return Retry(
        total=limits.tries - 1,
        backoff_factor=limits.backoff_seconds,
        backoff_max=limits.longest_backoff,
        backoff_jitter=limits.backoff_seconds / 4,
    )


def again(part: Part, retry: Retry, broken: Broken) -> Retry:
    """The tries that are left after one.

    Raises:
        Unreachable: that was the last.
    """
    from urllib3.exceptions import MaxRetryError

    try:
        return retry.increment("GET", part.file.url, error=broken)
    except MaxRetryError:
        kept = f"; {part.size:,} bytes are kept, run this again to go on from there" if part.size else ""
        raise Unreachable(
            f"{part.file.shown_url} cannot be downloaded, after {len(retry.history) + 1} tries in a row: {broken}{kept}"
        ) from None


def pause(part: Part, retry: Retry, limits: Limits, response: BaseHTTPResponse | None) -> float:
    """Seconds until the next try: what the server asks for, within limits.

    Raises:
        Busy: it asks for too many.
    """
    from urllib3.exceptions import InvalidHeader

    asked = None
    if response is not None:
        with suppress(InvalidHeader):
            asked = retry.get_retry_after(response)
    if asked is not None and limits.longest_asked is not None:
        if asked > limits.longest_asked:
            raise Busy(
                f"{part.file.shown_url}: the server asks to be left alone for {asked:,.0f} s, run this again after that"
            )
        return asked
    return min(retry.get_backoff_time() if asked is None else asked, limits.longest_backoff)


def meaning_of(error: HTTPError, part: Part, limits: Limits) -> Exception:
    """What a failure of the library means: something to try again, or for good."""
    from urllib3.exceptions import (
        LocationValueError,
        MaxRetryError,
        NewConnectionError,
        ReadTimeoutError,
        ResponseError,
        SSLError,
        TimeoutError,
    )

    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    host = urlsplit(part.file.url).hostname
    if isinstance(reason, SSLError) and "CERTIFICATE" in str(reason):
        return EchelonError(
            f"{host} has no certificate that this machine trusts, so nothing is taken from it: {reason}"
        )
    if isinstance(reason, ResponseError):
        return EchelonError(f"{part.file.shown_url} leads from one address to the next ({reason}): give the last one")
    if isinstance(reason, LocationValueError):
        return EchelonError(f"{part.file.shown_url} is, or leads to, no address: {reason}")
    if isinstance(reason, ReadTimeoutError):
        return Broken(f"nothing came from {host} for {limits.stall_seconds:g} s, after {part.size:,} bytes")
    # The last part says what happened, where it is not only that less came than was announced.
    detail = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(reason.args[-1] if reason.args else reason))
    if isinstance(reason, NewConnectionError | TimeoutError):
        return Broken(f"{host} cannot be reached: {detail}")
    closed = "IncompleteRead" in detail
    return Broken(f"the connection was closed after {part.size:,} bytes{'' if closed else f' ({detail})'}")
