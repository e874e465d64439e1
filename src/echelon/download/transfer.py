"""A file over HTTP: its rest is asked for as often as the connection breaks (RFC 9110, range requests)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import echelon
from echelon.download.answer import TEMPORARY, start_of, status_of, total_of, validator_of
from echelon.download.broken import Broken, again, meaning_of, patience, pause
from echelon.download.failure import Oversized, Refused
from echelon.download.file import File
from echelon.download.limits import Limits
from echelon.download.part import Part
from echelon.errors import DataError, EchelonError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from echelon.download.watch import Watch

_CHUNK = 1 << 18
_WORTH_ANOTHER_TRY = 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a file has come. done, total: bytes; total is None where nobody knows it."""

    name: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]
OnRequest = Callable[[str], None]


def transfer(part: Part, limits: Limits, on_progress: OnProgress, on_request: OnRequest) -> None:
    """Brings the rest of a file.

    Raises:
        Unreachable: the server cannot be reached, breaks off again and again, or is busy for too long; what has come
            stays. StorageError: the disk is full. DataError: the server has a file of another size, or too large a
            one. Refused: it does not give it. What `on_request` raises.
    """
    fresh = patience(limits)
    retry, reached = fresh, part.size
    # Needs urllib3, whose absence `patience` has told.
    from echelon.download.watch import Watch

    with Watch(2 * limits.stall_seconds) as watch, _pool(part.file, limits, on_request, watch) as pool:
        while True:
            try:
                on_request(part.file.url)
                _try(pool, part, limits, on_progress, watch)
                return
            except Broken as broken:
                part.flush()
                # What comes a second time, after a new beginning, is no progress: or this could go on for ever.
                if part.size - reached >= _WORTH_ANOTHER_TRY:
                    retry, reached = fresh, part.size
                retry = again(part, retry, broken)
                seconds = pause(part, retry, limits, broken.response)
                _log.warning("%s: %s; trying again in %.0f s", part.file.name, broken, seconds)
                time.sleep(seconds)


def _pool(file: File, limits: Limits, on_request: OnRequest, watch: Watch) -> PoolManager:
    """Connections, through the proxy of the environment where there is one."""
    from urllib3 import PoolManager, ProxyManager, Timeout

    from echelon.download.redirects import Redirects

    parts = urlsplit(file.url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    timeout = Timeout(connect=limits.connect_seconds, read=limits.stall_seconds)
    # A checksum shows what anybody on the way has changed.
    redirects = Redirects.of(on_request, open_too=file.digest is not None)
    headers = {"Accept-Encoding": "identity", "User-Agent": f"echelon/{echelon.__version__}"}
    settings: dict[str, Any] = {"timeout": timeout, "retries": redirects, "headers": headers}
    pool = ProxyManager(proxy, **settings) if proxy else PoolManager(**settings)
    pool.pool_classes_by_scheme = watch.pools()
    return pool


def _try(pool: PoolManager, part: Part, limits: Limits, on_progress: OnProgress, watch: Watch) -> None:
    """Asks once for the rest of a file, and takes what comes.

    Raises:
        Broken: it ended early.
    """
    from urllib3.exceptions import HTTPError

    response = None
    try:
        response = _asked(pool, part)
        _require_whole(part, watch)
        if response.status == 416 and total_of(response) == part.size:
            return
        total = _accept(response, part, limits)
        _receive(watch.pieces(response, _CHUNK), part, total, limits, on_progress)
        _require_whole(part, watch)
    except HTTPError as error:
        _require_whole(part, watch)
        raise meaning_of(error, part, limits) from None
    finally:
        if response is not None:
            response.close()


def _asked(pool: PoolManager, part: Part) -> BaseHTTPResponse:
    """The answer to a question for the rest of a file, before its body.

    Raises:
        HTTPError: there is none. EchelonError: it leads to no address.
    """
    from urllib3.exceptions import HTTPError

    try:
        return pool.request("GET", part.file.url, headers={**pool.headers, **_rest_of(part)}, preload_content=False)
    except HTTPError:
        raise
    except ValueError as error:
        # Of Python's own module for addresses, which urllib3 lets pass.
        raise EchelonError(f"{part.file.shown_url} is, or leads to, no address: {error}") from None


def _require_whole(part: Part, watch: Watch) -> None:
    """
    Raises:
        Broken: the answer was cut, which looks like an end of it.
    """
    if watch.has_cut:
        raise Broken(f"too little came from {urlsplit(part.file.url).hostname} in {watch.seconds:g} s")


def _rest_of(part: Part) -> dict[str, str]:
    """The headers that ask for what is missing; without a way to know that it is the same version, for all of it."""
    validator = part.validator()
    if not part.size or (validator is None and part.file.digest is None):
        return {}
    asked = {"Range": f"bytes={part.size}-"}
    return {**asked, "If-Range": validator} if validator else asked


def _accept(response: BaseHTTPResponse, part: Part, limits: Limits) -> int | None:
    """Looks at an answer before its body is taken; the size of the whole file, if it is known.

    Raises:
        Broken: the server is busy, or answers another question. Refused: it does not give it. DataError: the file has
        another size, or too large a one. StorageError: there is no room for it.
    """
    if response.status in TEMPORARY:
        raise Broken(f"the server answers {status_of(response)}", response)
    if response.status == 200:
        part.begin(validator_of(response))
    elif response.status in (206, 416):
        if start_of(response) != part.size:
            part.begin(None)
            raise Broken(f"the server answers {status_of(response)}, which does not fit what has come; from the start")
    else:
        raise Refused(
            f"{part.file.shown_url} cannot be downloaded, the server answers {status_of(response)}: look whether the "
            "address is right, or take another one that has the same file",
            response.status,
        )
    total = total_of(response)
    if part.file.size is not None and total not in (None, part.file.size):
        raise DataError(
            f"{part.file.shown_url} has {total:,} bytes instead of {part.file.size:,}: it is another file, or another "
            "version; take an address that has the right one"
        )
    total = total if total is not None else part.file.size
    if total is not None:
        _require_small(part, total, limits)
        part.require_room(total)
    return total


def _require_small(part: Part, size: int, limits: Limits) -> None:
    """
    Raises:
        Oversized: more bytes than the limits allow; what has come is forgotten.
    """
    if limits.most_bytes is not None and size > limits.most_bytes:
        part.discard()
        raise Oversized(f"{part.file.shown_url} has more than the {limits.most_bytes:,} bytes that are allowed")


def _receive(pieces: Iterator[bytes], part: Part, total: int | None, limits: Limits, on_progress: OnProgress) -> None:
    """Takes a body to its end.

    Raises:
        Broken: it ends early, or comes too slowly. DataError: it does not end where it should, or is too large.
    """
    began, before = time.monotonic(), part.size
    on_progress(Progress(part.file.name, part.size, total))
    for data in pieces:
        part.add(data)
        on_progress(Progress(part.file.name, part.size, total))
        _require_small(part, part.size, limits)
        if total is not None and part.size > total:
            raise DataError(
                f"{part.file.shown_url} sends more than {total:,} bytes: it is not the file that was asked for"
            )
        if (passed := time.monotonic() - began) > limits.stall_seconds:
            if part.size - before < limits.slowest * passed:
                raise Broken(f"only {part.size - before:,} bytes came in {passed:.0f} s")
            began, before = time.monotonic(), part.size
    if total is not None and part.size < total:
        raise Broken(f"the connection was closed after {part.size:,} of {total:,} bytes")
