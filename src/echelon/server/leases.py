"""Who computes which steps, and which of them are done: a state machine without clock, rows or parameters.

An epoch's lanes are cut into streams, and each stream takes every step of every epoch with the rows of its lanes. A
lease is some consecutive steps of one stream in one epoch, for one worker, for a time. It ends in exactly one way: it
is committed, or it expires (or its worker gives it up) and its steps are free again. So steps may be computed many
times, but are committed once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from echelon.errors import EchelonError

Span = tuple[int, int]
"""Steps [first, last) of a stream, counted over the epochs from 0."""


@dataclass(frozen=True)
class Lease:
    """Steps [first, first + steps) of an epoch, with the rows that the lanes of a stream give in them.

    token: tells it from every other lease. serial: how many steps of all streams were leased before. until: when it
    expires, by the clock of who grants.
    """

    token: int
    worker: int
    stream: int
    epoch: int
    first: int
    steps: int
    serial: int
    until: float


@dataclass(frozen=True)
class Reached:
    """What of a stream is committed: all steps before the watermark, and these spans behind it; over the epochs."""

    watermark: int = 0
    beyond: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        places = [self.watermark, *(place for span in self.beyond for place in span)]
        if self.watermark < 0 or any(a >= b for a, b in pairwise(places)):
            raise EchelonError(f"no stream can have reached {self.watermark} and {list(self.beyond)}")

    @property
    def steps(self) -> int:
        return self.watermark + sum(last - first for first, last in self.beyond)

    @property
    def end(self) -> int:
        """The step before which all committed ones lie."""
        return self.beyond[-1][1] if self.beyond else self.watermark

    def gaps(self, horizon: int) -> list[Span]:
        """The steps before a horizon, at least `end`, that are not committed."""
        places = [self.watermark, *(place for span in self.beyond for place in span), horizon]
        gaps = zip(places[::2], places[1::2], strict=True)
        return [(first, end) for first, end in gaps if first < end]

    def to_json(self) -> list[object]:
        return [self.watermark, [list(span) for span in self.beyond]]

    @classmethod
    def from_json(cls, value: list) -> Reached:
        return cls(int(value[0]), tuple((int(first), int(last)) for first, last in value[1]))


class Outcome(StrEnum):
    """What became of a commit. REPEATED: it had been applied before. REFUSED: its lease had expired."""

    APPLIED = "applied"
    REPEATED = "already applied"
    REFUSED = "refused"


@dataclass
class _Stream:
    """free: sorted, apart from each other, not empty. closed: not done either, and behind the last step of the run."""

    free: list[Span] = field(default_factory=list)
    closed: list[Span] = field(default_factory=list)

    def give_back(self, span: Span) -> None:
        insort(self.free, span)
        merged: list[Span] = []
        for first, last in self.free:
            if merged and merged[-1][1] == first:
                merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        self.free = merged

    def take(self, span: Span) -> None:
        """Takes steps that are free and follow each other."""
        at = next(index for index, (first, last) in enumerate(self.free) if first <= span[0] and span[1] <= last)
        first, last = self.free.pop(at)
        self.free[at:at] = [rest for rest in ((first, span[0]), (span[1], last)) if rest[0] < rest[1]]

    def free_in(self, begin: int, end: int) -> list[Span]:
        """The free steps of [begin, end)."""
        spans = ((max(first, begin), min(last, end)) for first, last in self.free)
        return [span for span in spans if span[0] < span[1]]


class Leases:
    """All leases of a run. Times are of any clock that never goes back."""

    def __init__(self, steps_per_epoch: int, last: int, most: int, reached: Sequence[Reached]) -> None:
        """
        Args:
            steps_per_epoch: of each stream. last: steps of each stream in the whole run. most: τ, steps of a lease.
            reached: what is committed already, of each stream.
        """
        self._steps, self._most = steps_per_epoch, most
        # A run may be resumed with fewer steps than some stream has done.
        self._horizon = max([last, *(one.end for one in reached)])
        self._streams = [_stream(one.gaps(self._horizon), last) for one in reached]
        self._ended = False
        self._committed = sum(one.steps for one in reached)
        self._granted = 0
        self._open: dict[int, Lease] = {}
        self._went: dict[int, tuple[int, int]] = {}
        self._expired: set[int] = set()

    @property
    def committed(self) -> int:
        """Steps of all streams that are done."""
        return self._committed

    @property
    def done(self) -> bool:
        """Whether all steps are committed."""
        return not self._open and not any(stream.free for stream in self._streams)

    def grant(self, worker: int, now: float, seconds: float) -> Lease | None:
        """A lease for `seconds`; None if no steps are free now. What the worker held before is free again.

        No step of an epoch is granted while there are free ones of an earlier epoch. Among those, a worker goes on with
        the stream that has its number; else it helps the one with most steps left, from the middle of them on, so that
        both go on in order: to read at another place takes as long as many steps.
        """
        self.expire(now)
        self.release(worker)
        spans = [span for stream in self._streams for span in stream.free]
        if not spans or self._ended:
            return None
        epoch = min(spans)[0] // self._steps
        begin, end = epoch * self._steps, (epoch + 1) * self._steps
        index, (first, last) = self._chosen(worker, begin, end)
        upto = min(first + self._most, last)
        self._streams[index].take((first, upto))
        serial = self._committed + sum(lease.steps for lease in self._open.values())
        lease = Lease(self._granted, worker, index, epoch, first - begin, upto - first, serial, now + seconds)
        self._granted += 1
        self._open[lease.token] = lease
        self._went[worker] = index, upto
        return lease

    def _chosen(self, worker: int, begin: int, end: int) -> tuple[int, Span]:
        """A stream, and which of its free steps of [begin, end), of which there are some, a worker takes next."""
        left = {index: spans for index, stream in enumerate(self._streams) if (spans := stream.free_in(begin, end))}
        if worker in left:
            return worker, left[worker][0]
        stream, place = self._went.get(worker, (worker, begin))
        for first, last in left.get(stream, ()):
            if first <= place < last:
                return stream, (place, last)
        index = max(left, key=lambda one: sum(last - first for first, last in left[one]))
        first, last = max(left[index], key=lambda span: span[1] - span[0])
        return index, (first if last - first <= self._most else (first + last) // 2, last)

    def held(self, token: int) -> Lease | None:
        """The lease with this token, if it has not ended."""
        return self._open.get(token)

    def renew(self, token: int, now: float, seconds: float) -> bool:
        """Whether the lease is still held; it then expires after `seconds` from now."""
        self.expire(now)
        lease = self._open.get(token)
        if lease is not None:
            self._open[token] = replace(lease, until=now + seconds)
        return lease is not None

    def commit(self, token: int, now: float) -> tuple[Outcome, Lease | None]:
        """Ends a lease whose steps are done; they are never granted again. The lease, if that was applied now.

        Raises:
            EchelonError: no lease ever had this token.
        """
        self.expire(now)
        if not 0 <= token < self._granted:
            raise EchelonError(f"there never was a lease {token}: of this attempt {self._granted} were granted")
        lease = self._open.pop(token, None)
        if lease is None:
            return (Outcome.REFUSED if token in self._expired else Outcome.REPEATED), None
        self._committed += lease.steps
        return Outcome.APPLIED, lease

    def expire(self, now: float) -> list[Lease]:
        """Takes back the leases whose time is over."""
        return self._take_back([lease for lease in self._open.values() if lease.until <= now])

    def release(self, worker: int) -> list[Lease]:
        """Takes back what a worker holds, as if it had expired."""
        return self._take_back([lease for lease in self._open.values() if lease.worker == worker])

    def end(self) -> None:
        """Takes back all leases and grants no more."""
        self._take_back(list(self._open.values()))
        self._ended = True

    def reached(self) -> tuple[Reached, ...]:
        """What is committed, of each stream."""
        held: list[list[Span]] = [[*stream.free, *stream.closed] for stream in self._streams]
        for lease in self._open.values():
            held[lease.stream].append(self._span(lease))
        return tuple(_reached(sorted(spans), self._horizon) for spans in held)

    def _take_back(self, leases: list[Lease]) -> list[Lease]:
        for lease in leases:
            del self._open[lease.token]
            self._expired.add(lease.token)
            self._streams[lease.stream].give_back(self._span(lease))
        return leases

    def _span(self, lease: Lease) -> Span:
        first = lease.epoch * self._steps + lease.first
        return first, first + lease.steps


def _stream(gaps: Sequence[Span], last: int) -> _Stream:
    """The stream with these steps to do, of which none at or behind `last` is granted."""
    free = [(first, min(end, last)) for first, end in gaps if first < last]
    return _Stream(free, [(max(first, last), end) for first, end in gaps if end > last])


def _reached(gaps: list[Span], horizon: int) -> Reached:
    """What is committed, if these spans of [0, horizon), sorted and apart from each other, are not."""
    if not gaps:
        return Reached(horizon)
    starts = [start for start, _ in gaps[1:]] + [horizon]
    beyond = tuple((end, start) for (_, end), start in zip(gaps, starts, strict=True) if end < start)
    return Reached(gaps[0][0], beyond)
