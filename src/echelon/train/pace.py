"""How fast one worker does its own part of the steps: without what it waits for the others."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

BLOCKS = 8
"""From so many blocks of steps on a pace is told; there are never twice as many."""
_NORMAL_MAD = 1.4826
"""Standard deviation of normal values over their median absolute deviation."""
_MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard error of the median of normal values over that of their mean."""


@dataclass(frozen=True)
class Pace:
    """What a worker needs for a step, as the mean over some steps.

    rows: that it had in a step. seconds: for reading and computing, without waiting for others. error: the standard
    error of `seconds`, relative to it.
    """

    rows: float
    seconds: float
    error: float = 0.0


class Pacer:
    """Measures the pace of one worker, in constant memory.

    The seconds are a median of means (Nemirovski and Yudin, 1983): steps are gathered in blocks of equal length. One
    long pause spoils one block and not the median; a pause that comes back again and again is in all blocks, and so
    counts in full.

    warm_up: steps that are left out first, since caches are cold and memory is not there yet.
    """

    def __init__(self, warm_up: int = 0) -> None:
        self._left_out = warm_up
        self._length = 1
        self._blocks: list[tuple[float, float]] = []
        self._open = (0, 0.0, 0.0)

    def add(self, rows: int, seconds: float) -> None:
        """Takes in one step."""
        if self._left_out:
            self._left_out -= 1
            return
        steps, all_rows, all_seconds = self._open
        self._open = (steps + 1, all_rows + rows, all_seconds + seconds)
        if self._open[0] == self._length:
            self._blocks.append(self._open[1:])
            self._open = (0, 0.0, 0.0)
        if len(self._blocks) == 2 * BLOCKS:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
            self._blocks = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
            self._length *= 2

    @property
    def ready(self) -> bool:
        """Whether enough steps were taken to tell a pace. All workers that take the same steps agree."""
        return len(self._blocks) >= BLOCKS

    def pace(self) -> Pace:
        """The pace over all steps so far.

        Raises:
            ValueError: it is not `ready`.
        """
        if not self.ready:
            raise ValueError(f"a pace takes {BLOCKS} blocks of steps, and there are {len(self._blocks)}")
        means = [seconds / self._length for _, seconds in self._blocks]
        seconds = statistics.median(means)
        spread = _NORMAL_MAD * statistics.median(abs(mean - seconds) for mean in means)
        error = _MEDIAN_ERROR * spread / math.sqrt(len(means))
        rows = statistics.fmean(rows for rows, _ in self._blocks) / self._length
        return Pace(rows, seconds, error / seconds if seconds else 0.0)
