"""How many lanes each worker gets so that all are ready at the same time: arithmetic on a few numbers."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from echelon.train.cost import Cost

_CLOSE = 1e-9


@dataclass(frozen=True)
class Bounds:
    """The least and the most lanes that a worker may get."""

    least: int
    most: int


def slowest(costs: Sequence[Cost], counts: Sequence[int], lane_rows: float) -> float:
    """Seconds of the worker that takes longest with so many lanes of `lane_rows` rows a step."""
    return max(cost.seconds(lane_rows * count) for cost, count in zip(costs, counts, strict=True))


def fastest_counts(costs: Sequence[Cost], lanes: int, lane_rows: float, bounds: Sequence[Bounds]) -> tuple[int, ...]:
    """Lanes of each worker such that the slowest one takes the least time that whole lanes allow.

    Each lane in turn goes to who would be ready first with it, which is best since no worker gets faster by more rows.

    Raises:
        ValueError: the bounds leave no way to deal all lanes.
    """
    counts = [bound.least for bound in bounds]
    if not sum(counts) <= lanes <= sum(bound.most for bound in bounds):
        raise ValueError(f"{lanes} lanes cannot be dealt within {list(bounds)}")
    queue = [(costs[rank].seconds(lane_rows * (count + 1)), rank) for rank, count in enumerate(counts)]
    heapq.heapify(queue)
    for _ in range(lanes - sum(counts)):
        while counts[rank := heapq.heappop(queue)[1]] == bounds[rank].most:
            pass
        counts[rank] += 1
        heapq.heappush(queue, (costs[rank].seconds(lane_rows * (counts[rank] + 1)), rank))
    return tuple(counts)


def within(costs: Sequence[Cost], seconds: float, lane_rows: float, bounds: Sequence[Bounds]) -> tuple[Bounds, ...]:
    """The bounds, narrowed to the lanes that each worker can do in a time; the least ones always remain."""
    rows = [cost.rows_in(seconds * (1 + _CLOSE)) for cost in costs]
    return tuple(
        Bounds(bound.least, max(bound.least, int(min(bound.most, most / lane_rows + _CLOSE))))
        for bound, most in zip(bounds, rows, strict=True)
    )


def moved(before: Sequence[int], after: Sequence[int]) -> int:
    """Lanes that another worker gets, when contiguous shares of so many lanes become others."""
    owners = [np.repeat(np.arange(len(counts)), counts) for counts in (before, after)]
    return int(np.count_nonzero(owners[0] != owners[1]))


def fewest_moves(now: Sequence[int], bounds: Sequence[Bounds]) -> tuple[int, ...]:
    """Lanes of each worker within the bounds, such that the fewest lanes of contiguous shares change their worker.

    Exact, by dynamic programming over the ends of the shares: O(L²) for L lanes if the bounds are narrow.

    Args:
        now: lanes of each worker before, whose sum is L.

    Raises:
        ValueError: the bounds leave no way to deal all lanes.
    """
    lanes, ends = sum(now), np.arange(sum(now) + 1)
    fewest = np.where(ends == 0, 0.0, np.inf)  # [L + 1]: moves of the ranks so far, if their lanes end here
    chosen: list[NDArray[np.int64]] = []
    starts = [0, *accumulate(now)]
    for rank, bound in enumerate(bounds):
        best, count_of = np.full(lanes + 1, np.inf), np.zeros(lanes + 1, dtype=np.int64)
        for count in range(bound.least, min(bound.most, lanes) + 1):
            end = ends[count:]
            kept = np.minimum(end, starts[rank + 1]) - np.maximum(end - count, starts[rank])
            moves = fewest[: lanes + 1 - count] + count - np.maximum(kept, 0)
            better = moves < best[count:]
            best[count:][better] = moves[better]
            count_of[count:][better] = count
        fewest = best
        chosen.append(count_of)
    if not np.isfinite(fewest[lanes]):
        raise ValueError(f"{lanes} lanes cannot be dealt within {list(bounds)}")
    counts, left = [], lanes
    for count_of in reversed(chosen):
        counts.append(int(count_of[left]))
        left -= counts[-1]
    return tuple(reversed(counts))
