"""Dynamic load balancing: lanes are dealt again by measured speed, so that all workers end a step at the same time.

After some steps each worker's pace is measured, its cost t = α + β·rows is fitted to its paces, and the lanes are dealt
so that the slowest worker takes the least time. A pace is of a worker's own work; what it waits for others would make
all look alike. The rows of a global step stay the same ones whoever holds their lanes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from echelon.errors import EchelonError
from echelon.train.cost import Cost, fit, perfect_seconds, relative_error
from echelon.train.every import Every
from echelon.train.pace import Pace
from echelon.train.split import Bounds, fastest_counts, fewest_moves, slowest, within

DEADBAND = 0.03
"""The least gain, as a part of a step's time, for which lanes are dealt again."""
NOISE = 2.0
"""A gain must be so many times as large as the standard error of the times that promise it."""
SLACK = 0.005
"""What a step may take longer than the best one, as a part of it, for fewer lanes that change their worker."""
LEAST_KEPT = 4
"""A worker keeps at least this part of its lanes at once, as one over the number: one pace may be all wrong."""
MEMORY = 6
"""How many paces of a worker are kept."""
WAITING = 0.1
"""From this part of a step's time on, waiting for the slowest worker deserves a word if it stays."""
COARSE = 8
"""Lanes of a worker below which shares are coarse."""
ONCE, ONCE_AFTER = "once", Every(20, "steps")


@dataclass(frozen=True)
class Cadence:
    """When paces are measured and lanes dealt again. once: only the first time."""

    every: Every
    once: bool = False

    @classmethod
    def parse(cls, text: str) -> Cadence:
        """Reads "off", "once", "50steps" or "1epoch".

        Raises:
            EchelonError: the text is none of these. All workers count steps alike, but their clocks differ.
        """
        if text.strip().lower() == ONCE:
            return cls(ONCE_AFTER, once=True)
        try:
            every = Every.parse(text)
        except EchelonError:
            every = None
        if every is None or every.unit == "seconds":
            raise EchelonError(f"--balance must be off, once, or so many steps or epochs as 50steps, got {text!r}")
        return cls(every)

    def due(self, steps: tuple[int, int], steps_per_epoch: int, measured: int) -> bool:
        """Whether it is time in the half-open span of global steps (before, now], after so many measurements."""
        return not (self.once and measured) and self.every.due(steps, steps_per_epoch, (0.0, 0.0))

    def __bool__(self) -> bool:
        return bool(self.every.count)


@dataclass(frozen=True)
class Deal:
    """The lanes of each worker, contiguous and in rank order.

    step: global steps done when they come into force. counts: by rank.
    """

    step: int
    counts: tuple[int, ...]

    @property
    def shares(self) -> tuple[range, ...]:
        ends = [sum(self.counts[: rank + 1]) for rank in range(len(self.counts))]
        return tuple(range(end - count, end) for end, count in zip(ends, self.counts, strict=True))


@dataclass(frozen=True)
class Balance:
    """What is known of the workers' speeds and decided about their lanes; equal on all ranks, stored with checkpoints.

    deals: in the order of their steps; at most the one in force and the next. paces: by rank, the oldest first.
    measured: how often.
    """

    deals: tuple[Deal, ...] = ()
    paces: tuple[tuple[Pace, ...], ...] = ()
    measured: int = 0

    @property
    def newest(self) -> Deal:
        return self.deals[-1]

    def going_on(self, shares: Sequence[Sequence[int]]) -> Balance:
        """The same if it is for as many workers, else a new one that begins with these shares."""
        counts = tuple(len(share) for share in shares)
        return self if self.deals and len(self.newest.counts) == len(counts) else Balance((Deal(0, counts),))

    def with_deal(self, deal: Deal, step: int) -> Balance:
        """With a deal that comes into force later, and without those that are over at a step."""
        current = [old for old in self.deals if old.step <= step][-1:]
        return replace(self, deals=(*current, deal))

    def with_paces(self, paces: Sequence[Pace]) -> Balance:
        """With what was measured now, a pace for each rank."""
        before = self.paces or ((),) * len(paces)
        joined = tuple((*old, new)[-MEMORY:] for old, new in zip(before, paces, strict=True))
        return replace(self, paces=joined, measured=self.measured + 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Balance:
        deals = tuple(Deal(deal["step"], tuple(deal["counts"])) for deal in values["deals"])
        paces = tuple(tuple(Pace(**pace) for pace in paces) for paces in values["paces"])
        return cls(deals, paces, values["measured"])


@dataclass(frozen=True)
class Verdict:
    """What follows from the paces.

    counts: lanes of each worker from now on; None if they stay. before, after: seconds of a step of the slowest worker,
    expected with the old and the new lanes. remark: why workers go on waiting for one another, or "".
    """

    counts: tuple[int, ...] | None
    before: float
    after: float
    remark: str = ""


def judge(balance: Balance, batch_size: int, most: Sequence[int]) -> Verdict:
    """Whether to deal the lanes again, and how.

    Args:
        balance: with the newest paces. most: lanes for which each worker has memory.
    """
    now = balance.newest.counts
    lanes, costs = sum(now), [fit(paces) for paces in balance.paces]
    lane_rows = batch_size / lanes
    bounds = [Bounds(-(-held // LEAST_KEPT), max(held, limit)) for held, limit in zip(now, most, strict=True)]
    before = slowest(costs, now, lane_rows)
    best = slowest(costs, fastest_counts(costs, lanes, lane_rows, bounds), lane_rows)
    error = max(map(relative_error, balance.paces))
    if before - best > max(DEADBAND, NOISE * error) * before:
        counts = fewest_moves(now, within(costs, best * (1 + SLACK), lane_rows, bounds))
        return Verdict(counts, before, slowest(costs, counts, lane_rows))
    return Verdict(None, before, before, _hindrance(costs, now, batch_size, most) or _doubt(before, best, error))


def _hindrance(costs: Sequence[Cost], now: Sequence[int], batch_size: int, most: Sequence[int]) -> str:
    """Why workers wait for the slowest one although lanes stay where they are; "" if they hardly do."""
    lane_rows = batch_size / sum(now)
    seconds = [cost.seconds(lane_rows * count) for cost, count in zip(costs, now, strict=True)]
    longest = max(seconds)
    if longest - statistics.fmean(seconds) <= WAITING * longest:
        return ""
    slow = seconds.index(longest)
    free = [Bounds(1, sum(now))] * len(now)
    if perfect_seconds(costs, batch_size) >= (1 - WAITING / 2) * longest:
        return (
            f"no share can help: worker {slow} takes {costs[slow].fixed:.3g} s of its {longest:.3g} s a step however "
            "few rows it has; a larger --batch-size would, with fewer steps for the same rows"
        )
    if slowest(costs, fastest_counts(costs, sum(now), lane_rows, free), lane_rows) >= (1 - DEADBAND) * longest:
        return (
            f"{sum(now)} lanes are too coarse: one of worker {slow} takes {costs[slow].per_row * lane_rows:.3g} s of a "
            f"step of {longest:.3g} s; a new run with more --lanes could share them better"
        )
    full = [rank for rank, count in enumerate(now) if count >= most[rank]]
    if full:
        return f"workers {', '.join(map(str, full))} have no memory for more lanes: allow more with --memory-mb"
    return ""


def _doubt(before: float, best: float, error: float) -> str:
    """Whether other lanes would help if the measurements could be believed; "" if not."""
    if before - best <= WAITING * before:
        return ""
    return (
        f"other lanes might save {100 * (1 - best / before):.0f} % of a step, but the workers' times vary by "
        f"{100 * error:.0f} %: longer between two measurements would tell more"
    )


def too_coarse(lanes: int, workers: int) -> str:
    """A remark where a worker has so few lanes that shares can hardly follow speeds, or ""."""
    if lanes >= COARSE * workers:
        return ""
    return (
        f"{lanes} lanes for {workers} workers are coarse: shares can change only by {100 * workers / lanes:.0f} % of "
        f"an equal one; a new run with --lanes {COARSE * workers} or more could balance better"
    )
