"""How long a download waits, how often it tries, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How patient a download is, and how much it takes.

    connect_seconds: to reach a server. stall_seconds: in which nothing may come, or fewer than `slowest` bytes a
    second. tries: in a row that bring less than a megabyte together. backoff_seconds: before the second repetition;
    doubled for each further one, up to `longest_backoff`. longest_asked: that a server may ask us to wait; if it asks
    for more, the download ends. None: for more than `longest_backoff` it asks in vain. most_bytes: of one file; None
    is any number.
    """

    connect_seconds: float = 15.0
    stall_seconds: float = 30.0
    slowest: float = 1_000.0
    tries: int = 7
    backoff_seconds: float = 1.0
    longest_backoff: float = 60.0
    longest_asked: float | None = None
    most_bytes: int | None = None


USUAL = Limits()
