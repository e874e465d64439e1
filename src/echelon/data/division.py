"""How rows are divided into those to train on and those to test on, by the names of what they belong to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True)
class Division:
    """A division by a hash of names, such as that of a row's product or video, so that it is the same wherever a row is
    and whatever others there are.

    test_fraction: part of the names to test on; 0 for none, 1 for everything. seed: another one draws others.
    """

    test_fraction: float
    seed: int

    def split_of(self, name: str) -> str:
        """ "train" or "test" for all rows of a name."""
        return TEST if self._drawn(name) / 2**64 < self.test_fraction else TRAIN

    def split_all(self, names: Sequence[str]) -> list[str]:
        """The split of each of some names, which are all there are: just that part of them is to test on, rounded, but
        at least one name to test and one to train on where there are two and a part of them is asked for.

        As in `split_of`, names keep their order whatever others there are; only what is near the edge may change.
        """
        wanted = math.floor(len(names) * self.test_fraction + 0.5)
        if len(names) > 1 and 0 < self.test_fraction < 1:
            wanted = min(max(wanted, 1), len(names) - 1)
        # Names in the second place, for the improbable case of equal numbers.
        test = set(sorted(set(names), key=lambda name: (self._drawn(name), name))[:wanted])
        return [TEST if name in test else TRAIN for name in names]

    def _drawn(self, name: str) -> int:
        """In [0, 2^64)."""
        return int.from_bytes(hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest(), "big")
