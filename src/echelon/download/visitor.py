"""Visits to sites that did not ask for it: within them, by their rules, and one request at a time with a pause."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from echelon.download.failure import Forbidden, Refused, Unreachable
from echelon.download.fetch import fetch
from echelon.download.file import File
from echelon.download.limits import Limits
from echelon.download.robots import Robots
from echelon.download.transfer import OnProgress, OnRequest
from echelon.errors import EchelonError, StorageError

PAGE_BYTES = 4 << 20
_ROBOTS_BYTES = 1 << 20
POLITE = Limits(tries=4, longest_asked=300.0)
"""A server that asks for minutes gets them; one that asks for more is left alone."""


@dataclass(frozen=True)
class Page:
    """What an address gave. url: where it came from in the end, after redirects."""

    url: str
    content: bytes


class Visitor:
    """Asks hosts for pages and files as a polite program does.

    Only the hosts that were named are asked, with those below them ("files.example.org" below "example.org"), also
    when an answer leads elsewhere. robots.txt of each is asked for first and obeyed. From one request to the next of a
    host, `pause` seconds pass, or as many as its robots.txt asks for.

    Args:
        hosts: names, or whole addresses, of which the host counts; www.example.org is example.org. longest_pause: a
        robots.txt that asks for more
            closes its site.
    """

    def __init__(
        self, hosts: Iterable[str], *, pause: float = 1.0, longest_pause: float = 60.0, limits: Limits = POLITE
    ) -> None:
        self.limits = limits
        self._hosts = {(host_of(host) if "://" in host else host.lower()).removeprefix("www.") for host in hosts}
        self._pause, self._longest_pause = pause, longest_pause
        self._robots: dict[str, Robots] = {}
        self._asked: dict[str, float] = {}

    def page(self, url: str) -> Page:
        """
        Raises:
            EchelonError: as `fetch`; it has more than 4 MB.
        """
        return self._read(url, replace(self.limits, most_bytes=PAGE_BYTES), self._request)

    def fetch(self, file: File, folder: Path, on_progress: OnProgress | None = None) -> Path:
        """Brings a file to a folder; where it is.

        Raises:
            Forbidden: it is elsewhere, leads elsewhere, or robots.txt forbids it. EchelonError: as
            `echelon.download.fetch.fetch`.
        """
        return fetch(file, folder, limits=self.limits, on_progress=on_progress, on_request=self._request)

    def _request(self, url: str) -> None:
        """Called before an address is asked.

        Raises:
            Forbidden: it must not be.
        """
        self._require_within(url)
        robots = self._robots_of(url)
        if objection := robots.objection(url):
            raise Forbidden(objection)
        if robots.pause > self._longest_pause:
            raise Forbidden(
                f"robots.txt asks for {robots.pause:,.0f} s between requests, more than {self._longest_pause:g} s"
            )
        self._wait(url, max(self._pause, robots.pause))

    def _require_within(self, url: str) -> None:
        """
        Raises:
            Forbidden: it is on another host.
        """
        host = host_of(url)
        if not any(host == known or host.endswith(f".{known}") for known in self._hosts):
            raise Forbidden(f"it leads to {host or 'no host'}, out of {', '.join(sorted(self._hosts))}")

    def _robots_of(self, url: str) -> Robots:
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
        if site not in self._robots:
            self._robots[site] = self._ask_robots(f"{site}/robots.txt")
        return self._robots[site]

    def _ask_robots(self, url: str) -> Robots:
        """An answer that there is none opens the site; none at all closes it (RFC 9309, 2.3.1)."""

        def request(asked: str) -> None:
            self._require_within(asked)
            self._wait(asked, self._pause)

        try:
            return Robots.of(self._read(url, replace(self.limits, most_bytes=_ROBOTS_BYTES), request).content)
        except Refused:
            return Robots.open()
        except StorageError as error:
            if not isinstance(error, Unreachable):
                raise
            return Robots.closed(str(error))
        except EchelonError as error:
            return Robots.closed(str(error))

    def _wait(self, url: str, pause: float) -> None:
        host = host_of(url)
        until = self._asked.get(host, -math.inf) + pause
        time.sleep(max(0.0, until - time.monotonic()))
        self._asked[host] = time.monotonic()

    def _read(self, url: str, limits: Limits, on_request: OnRequest) -> Page:
        last = [url]

        def request(asked: str) -> None:
            on_request(asked)
            last.append(asked)

        with TemporaryDirectory(prefix="echelon-page-") as scratch:
            path = fetch(File(url, "page"), scratch, limits=limits, on_request=request)
            return Page(last[-1], path.read_bytes())


def host_of(url: str) -> str:
    """The host of an address, lower-case, as the library reads it that will ask it; "" if there is none.

    Raises:
        EchelonError: it is no address, or urllib3 is not installed.
    """
    try:
        from urllib3.exceptions import LocationValueError
        from urllib3.util import parse_url
    except ImportError:
        raise EchelonError("urllib3 is not installed, which downloads: pip install 'echelon[download]'") from None
    try:
        return (parse_url(url).host or "").lower().rstrip(".")
    except LocationValueError as error:
        raise EchelonError(f"{url!r} is no address: {error}") from None
