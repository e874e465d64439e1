"""What a step costs one worker: a fixed time, and a time for each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from echelon.train.pace import Pace

FORGETTING = 0.5
"""A pace weighs so much of the one after it: old ones smooth the noise, and a worker may change its speed."""
PRIOR = 0.0025
"""Weight of a pace of no time for no rows: against differences of some percent of the rows it is what counts."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a step with so many rows: fixed + per_row · rows."""

    fixed: float
    per_row: float

    def seconds(self, rows: float) -> float:
        return self.fixed + self.per_row * rows

    def rows_in(self, seconds: float) -> float:
        """The most rows that can be done in a time; 0 where that is less than the fixed one."""
        if seconds < self.fixed:
            return 0.0
        return (seconds - self.fixed) / self.per_row if self.per_row else math.inf


def fit(paces: Sequence[Pace]) -> Cost:
    """The line through some paces of one worker by weighted least squares; neither part is negative.

    All that was measured with one number of rows says nothing of the fixed time, which is then taken to be zero.

    Args:
        paces: at least one, the oldest first.
    """
    weights = _weights(paces)

    def total(*values: float) -> float:
        return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))

    count, rows = total(*(1.0 for _ in paces)), total(*(p.rows for p in paces))
    seconds, products = total(*(p.seconds for p in paces)), total(*(p.rows * p.seconds for p in paces))
    squares = total(*(p.rows**2 for p in paces))
    if not squares:
        return Cost(seconds / count, 0.0)
    all_count = count + PRIOR * count
    per_row = (all_count * products - seconds * rows) / (all_count * squares - rows**2)
    fixed = (seconds - per_row * rows) / all_count
    if per_row <= 0:
        return Cost(seconds / count, 0.0)
    return Cost(fixed, per_row) if fixed > 0 else Cost(0.0, products / squares)


def relative_error(paces: Sequence[Pace]) -> float:
    """The standard error of a fitted time, relative to it: that of the weighted mean of the paces."""
    weights = _weights(paces)
    squares = math.fsum((weight * pace.error) ** 2 for weight, pace in zip(weights, paces, strict=True))
    return math.sqrt(squares) / math.fsum(weights)


def _weights(paces: Sequence[Pace]) -> list[float]:
    return [FORGETTING**age for age in reversed(range(len(paces)))]


def perfect_seconds(costs: Sequence[Cost], rows: float) -> float:
    """The least time in which workers end a step of so many rows together, if rows could be dealt in any parts.

    A worker with next to no rows still takes its fixed time.
    """
    low = max(cost.fixed for cost in costs)
    high = max(low, min(cost.seconds(rows) for cost in costs))
    for _ in range(60):
        middle = (low + high) / 2
        enough = sum(cost.rows_in(middle) for cost in costs) >= rows
        low, high = (low, middle) if enough else (middle, high)
    return high
