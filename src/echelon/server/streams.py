"""The streams of a run: its lanes cut into contiguous pieces, each of which is leased step by step."""

from __future__ import annotations

from echelon.data.plan import deal
from echelon.errors import EchelonError


def lanes_of_streams(lanes: int, streams: int) -> tuple[range, ...]:
    """The lanes of each stream: together each lane once, so that in every global step each row is in one stream.

    Raises:
        EchelonError: there are more streams than lanes.
    """
    if streams > lanes:
        raise EchelonError(f"{streams} workers cannot share {lanes} lanes: begin with at most {lanes} workers")
    return deal(lanes, [1.0] * streams)


def global_step(serial: int, streams: int) -> int:
    """The global step, counted from 0, that a stream's step stands for, if `serial` steps of all were taken before."""
    return serial // streams
