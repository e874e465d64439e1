"""What a site asks of programs that visit it: robots.txt (RFC 9309), and the pauses that many write there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echelon.errors import EchelonError

if TYPE_CHECKING:
    from protego import Protego

AGENT = "echelon"


@dataclass(frozen=True)
class Robots:
    """The rules of a site for us. pause: seconds from one request to the next that it asks for."""

    pause: float
    _rules: Protego | None
    _closed: str = ""

    @classmethod
    def of(cls, content: bytes) -> Robots:
        """The rules in a robots.txt; what is none, such as a page that says that there is none, has no rules.

        Raises:
            EchelonError: Protego is not installed.
        """
        try:
            from protego import Protego
        except ImportError:
            raise EchelonError(
                "Protego is not installed, which reads robots.txt: pip install 'echelon[download]'"
            ) from None
        rules = Protego.parse(content.decode("utf-8", "replace").removeprefix("\ufeff"))
        rate = rules.request_rate(AGENT)
        between = rate.seconds / rate.requests if rate and rate.requests else 0.0
        return cls(max(rules.crawl_delay(AGENT) or 0.0, between), rules)

    @classmethod
    def open(cls) -> Robots:
        """Of a site that has no robots.txt: all may be visited."""
        return cls(0.0, None)

    @classmethod
    def closed(cls, reason: str) -> Robots:
        """Of a site whose robots.txt cannot be had now: nothing may be visited (RFC 9309, 2.3.1.4)."""
        return cls(0.0, None, reason)

    def objection(self, url: str) -> str | None:
        """Why an address may not be visited; None if it may be."""
        if self._closed:
            return f"robots.txt cannot be read, so nothing is asked for: {self._closed}"
        if self._rules is not None and not self._rules.can_fetch(url, AGENT):
            return "robots.txt forbids it"
        return None
