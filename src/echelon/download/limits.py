"""How long a download waits, and how often it tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How patient a download is.

    connect_seconds: to reach a server. stall_seconds: in which nothing may come, or fewer than `slowest` bytes a
    second. tries: in a row that bring less than a megabyte together. backoff_seconds: before the second repetition;
    doubled for each further one, up to `longest_backoff`, which is also the longest time that a server can ask for.
    """

    connect_seconds: float = 15.0
    stall_seconds: float = 30.0
    slowest: float = 1_000.0
    tries: int = 7
    backoff_seconds: float = 1.0
    longest_backoff: float = 60.0


USUAL = Limits()
