"""A file over HTTP: its rest is asked for as often as the connection breaks (RFC 9110, range requests)."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import echelon
from echelon.download.file import File
from echelon.download.limits import Limits
from echelon.download.part import Part
from echelon.errors import DataError, EchelonError, StorageError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry

_CHUNK = 1 << 18
_WORTH_ANOTHER_TRY = 1_000_000
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a file has come. done, total: bytes; total is None where nobody knows it."""

    name: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


class _Broken(Exception):
    """A try that ended early. response: of a server that is busy."""

    def __init__(self, reason: str, response: BaseHTTPResponse | None = None) -> None:
        super().__init__(reason)
        self.response = response


def transfer(part: Part, limits: Limits, on_progress: OnProgress) -> None:
    """Brings the rest of a file.

    Raises:
        StorageError: the server cannot be reached or breaks off again and again, or the disk is full; what has come
            stays. DataError: the server has a file of another size. EchelonError: it refuses.
    """
    fresh = _retry(limits)
    retry, reached = fresh, part.size
    with _pool(part.file, limits) as pool:
        while True:
            try:
                _try(pool, part, limits, on_progress)
                return
            except _Broken as broken:
                part.flush()
                # What comes a second time, after a new beginning, is no progress: or this could go on for ever.
                if part.size - reached >= _WORTH_ANOTHER_TRY:
                    retry, reached = fresh, part.size
                retry = _again(part, retry, broken)
                seconds = _pause(retry, limits, broken.response)
                _log.warning("%s: %s; trying again in %.0f s", part.file.name, broken, seconds)
                time.sleep(seconds)


def _retry(limits: Limits) -> Retry:
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


def _again(part: Part, retry: Retry, broken: _Broken) -> Retry:
    """
    Raises:
        StorageError: that was the last try.
    """
    from urllib3.exceptions import MaxRetryError

    try:
        return retry.increment("GET", part.file.url, error=broken)
    except MaxRetryError:
        kept = f"; {part.size:,} bytes are kept, run this again to go on from there" if part.size else ""
        raise StorageError(
            f"{part.file.shown_url} cannot be downloaded, after {len(retry.history) + 1} tries in a row: {broken}{kept}"
        ) from None


def _pause(retry: Retry, limits: Limits, response: BaseHTTPResponse | None) -> float:
    """Seconds until the next try: what the server asks for, within limits."""
    from urllib3.exceptions import InvalidHeader

    asked = None
    if response is not None:
        with suppress(InvalidHeader):
            asked = retry.get_retry_after(response)
    return min(retry.get_backoff_time() if asked is None else asked, limits.longest_backoff)


def _pool(file: File, limits: Limits) -> PoolManager:
    """Connections, through the proxy of the environment where there is one."""
    from urllib3 import PoolManager, ProxyManager, Timeout
    from urllib3.util import Retry

    from echelon.download.redirects import SafeRedirects

    parts = urlsplit(file.url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    timeout = Timeout(connect=limits.connect_seconds, read=limits.stall_seconds)
    # Redirects only: every other repetition is counted in one place, here.
    kind = SafeRedirects if file.digest is None else Retry
    redirects = kind(total=None, connect=0, read=0, other=0, status=0, redirect=5, respect_retry_after_header=False)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"echelon/{echelon.__version__}"}
    if proxy:
        return ProxyManager(proxy, timeout=timeout, retries=redirects, headers=headers)
    return PoolManager(timeout=timeout, retries=redirects, headers=headers)


def _try(pool: PoolManager, part: Part, limits: Limits, on_progress: OnProgress) -> None:
    """Asks once for the rest of a file, and takes what comes.

    Raises:
        _Broken: it ended early.
    """
    from urllib3.exceptions import HTTPError

    response = None
    try:
        response = pool.request("GET", part.file.url, headers={**pool.headers, **_rest_of(part)}, preload_content=False)
        if response.status == 416 and _total_of(response) == part.size:
            return
        total = _accept(response, part)
        _receive(response, part, total, limits, on_progress)
    except HTTPError as error:
        raise _broken(error, part, limits) from None
    finally:
        if response is not None:
            response.close()


def _rest_of(part: Part) -> dict[str, str]:
    """The headers that ask for what is missing; without a way to know that it is the same version, for all of it."""
    validator = part.validator()
    if not part.size or (validator is None and part.file.digest is None):
        return {}
    asked = {"Range": f"bytes={part.size}-"}
    return {**asked, "If-Range": validator} if validator else asked


def _accept(response: BaseHTTPResponse, part: Part) -> int | None:
    """Looks at an answer before its body is taken; the size of the whole file, if it is known.

    Raises:
        _Broken: the server is busy, or answers another question. EchelonError: it refuses. DataError: the file has
        another size. StorageError: there is no room for it.
    """
    if response.status in _TEMPORARY:
        raise _Broken(f"the server answers {_status_of(response)}", response)
    if response.status == 200:
        part.begin(_validator_of(response))
    elif response.status in (206, 416):
        if _start_of(response) != part.size:
            part.begin(None)
            raise _Broken(
                f"the server answers {_status_of(response)}, which does not fit what has come; from the start"
            )
    else:
        raise EchelonError(
            f"{part.file.shown_url} cannot be downloaded, the server answers {_status_of(response)}: look whether the "
            "address is right, or take another one that has the same file"
        )
    total = _total_of(response)
    if part.file.size is not None and total not in (None, part.file.size):
        raise DataError(
            f"{part.file.shown_url} has {total:,} bytes instead of {part.file.size:,}: it is another file, or another "
            "version; take an address that has the right one"
        )
    total = total if total is not None else part.file.size
    if total is not None:
        part.require_room(total)
    return total


def _receive(
    response: BaseHTTPResponse, part: Part, total: int | None, limits: Limits, on_progress: OnProgress
) -> None:
    """Takes a body to its end.

    Raises:
        _Broken: it ends early, or comes too slowly. DataError: it does not end where it should.
    """
    began, before = time.monotonic(), part.size
    on_progress(Progress(part.file.name, part.size, total))
    # One read of the network at a time, so that a trickle cannot keep us here.
    while data := response.read1(_CHUNK, decode_content=False):
        part.add(data)
        on_progress(Progress(part.file.name, part.size, total))
        if total is not None and part.size > total:
            raise DataError(
                f"{part.file.shown_url} sends more than {total:,} bytes: it is not the file that was asked for"
            )
        if (passed := time.monotonic() - began) > limits.stall_seconds:
            if part.size - before < limits.slowest * passed:
                raise _Broken(f"only {part.size - before:,} bytes came in {passed:.0f} s")
            began, before = time.monotonic(), part.size
    if total is not None and part.size < total:
        raise _Broken(f"the connection was closed after {part.size:,} of {total:,} bytes")


def _broken(error: HTTPError, part: Part, limits: Limits) -> Exception:
    """What a failure of the library means: something to try again, or for good."""
    from urllib3.exceptions import (
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
    if isinstance(reason, ReadTimeoutError):
        return _Broken(f"nothing came from {host} for {limits.stall_seconds:g} s, after {part.size:,} bytes")
    # The last part says what happened, where it is not only that less came than was announced.
    detail = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(reason.args[-1] if reason.args else reason))
    if isinstance(reason, NewConnectionError | TimeoutError):
        return _Broken(f"{host} cannot be reached: {detail}")
    closed = "IncompleteRead" in detail
    return _Broken(f"the connection was closed after {part.size:,} bytes{'' if closed else f' ({detail})'}")


def _status_of(response: BaseHTTPResponse) -> str:
    return f"{response.status} {response.reason or ''}".strip()


def _validator_of(response: BaseHTTPResponse) -> str | None:
    """A name of this version that can be asked for again; a weak one is not exact to the byte."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _start_of(response: BaseHTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total_of(response: BaseHTTPResponse) -> int | None:
    """Bytes of the whole file, as the server says."""
    said = response.headers.get("Content-Length") if response.status == 200 else None
    if said is None:
        said = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(said) if said.isdecimal() else None
