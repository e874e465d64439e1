"""What every kind of source gives: batches of rows, and problems with what could not become one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echelon.data.storage import Storage
from echelon.recipes.pixels.decode import Pixels
from echelon.spark.prepare import Problem

__all__ = ["Division", "Item", "Pixels", "Problem", "Reported", "Rows", "Source"]

TRAIN, VAL, TEST = "train", "val", "test"
UNLABELLED = -1
"""The label of an image that has none; only predictions can be made of it."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one split.

    images: uint8 [n, 3, H, W], RGB. labels: int64 [n]. keys: n names, each unique in the source.
    converted: how many of them were not RGB in the file.
    """

    images: Pixels
    labels: NDArray[np.int64]
    keys: list[str]
    converted: int = 0


class Item(Protocol):
    """A part of a source that one task reads: picklable, and all its rows belong to one split.

    images: about how many there are.
    """

    @property
    def split(self) -> str: ...

    @property
    def images(self) -> int: ...

    def rows(self, storage: Storage) -> Iterator[Rows | Problem]:
        """What it holds, in a fixed order.

        Raises:
            DataError: the file as a whole is not what it should be.
        """


@dataclass(frozen=True)
class Reported:
    """What was found to be wrong before any image was read; as an item, so that it is told with the other problems."""

    problems: tuple[Problem, ...]
    split: str = TRAIN
    images: int = 0

    def rows(self, storage: Storage) -> Iterator[Rows | Problem]:
        yield from self.problems


@dataclass(frozen=True)
class Source:
    """A recognised source.

    kind: what it is, for messages. size: height and width of its images if they are all the same by definition.
    """

    kind: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Division:
    """How a source without a test part is divided: of every class the same part, drawn by a hash of the rows' keys.

    test_fraction: part of each class to test on; 1 for everything. seed: another one draws others.
    """

    test_fraction: float
    seed: int

    def split_of(self, keys: Sequence[str], labels: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """Train or test for each row. A class of two rows or more has at least one on either side."""
        of_class: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(labels):
            of_class[int(label)].append(row)
        splits = [TRAIN] * len(keys)
        for rows in of_class.values():
            for row in sorted(rows, key=lambda row: self._place(keys[row]))[: self._held_out(len(rows))]:
                splits[row] = TEST
        return splits

    def _held_out(self, count: int) -> int:
        wanted = round(self.test_fraction * count)
        return wanted if count < 2 or self.test_fraction in (0, 1) else min(max(wanted, 1), count - 1)

    def _place(self, key: str) -> bytes:
        return hashlib.sha256(f"{self.seed}/{key}".encode()).digest()
