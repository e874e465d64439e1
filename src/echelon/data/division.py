"""How rows are divided into those to train on and those to test on, by the names of what they belong to."""

from __future__ import annotations

import hashlib
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
        drawn = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return TEST if int.from_bytes(drawn, "big") / 2**64 < self.test_fraction else TRAIN
