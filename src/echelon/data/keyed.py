"""Random numbers that belong to a row and not to the process that happens to read it.

Counter-based: a number is a hash of (seed, epoch, row, salt, index), so augmentation is the same for any number of
workers and needs no state to be saved (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the
mixing function is SplitMix64's finaliser: Steele et al., OOPSLA 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _absorb(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _mix(state * _GOLDEN + value + _GOLDEN)


@dataclass(frozen=True)
class Draw:
    """The random numbers of some rows in one epoch.

    rows: row numbers (int64, [n]). Calls with different salts are independent of each other.
    """

    seed: int
    epoch: int
    rows: Tensor

    def uniform(self, count: int, salt: int = 0) -> Tensor:
        """Numbers in [0, 1), float32 [n, count]."""
        return torch.from_numpy((self._bits(count, salt) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24))

    def integers(self, low: int, high: int, salt: int = 0) -> Tensor:
        """One integer a row in [low, high), int64 [n].

        Raises:
            ValueError: the interval is empty.
        """
        if high <= low:
            raise ValueError(f"no integer lies in [{low}, {high})")
        bits = (self._bits(1, salt)[:, 0] >> np.uint64(32)).astype(np.int64)
        return torch.from_numpy(low + ((bits * (high - low)) >> 32))

    def _bits(self, count: int, salt: int) -> NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            key = np.zeros(1, dtype=np.uint64)
            for value in (self.seed, self.epoch, salt):
                key = _absorb(key, np.asarray([value], dtype=np.int64).view(np.uint64))
            rows = _absorb(key, self.rows.numpy().view(np.uint64))
            return _absorb(rows[:, None], np.arange(count, dtype=np.uint64)[None, :])
