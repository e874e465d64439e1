"""Images to train on and images to test on: a seeded division of each breed, written once and the same for all."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echelon.data.division import TEST, TRAIN
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.data.write import write_dataset
from echelon.errors import DataError
from echelon.recipes.pets.columns import ALL, FEATURES, KEY, LABEL, described
from echelon.recipes.pets.problem import Problem
from echelon.sources import Derived

FEW = 20
"""With fewer test images of a breed than this, figures say little."""
PROBLEM = "problem"
"""What a dataset that was divided says it was divided for."""
_BATCH = 512
_KEPT = ("model", "weights", "mirrored", "images", "files")
"""What is said of the features of a dataset, of those of a part of it, too."""
_log = logging.getLogger(__name__)


def count_tested(images: int, test_fraction: float) -> int:
    """How many images of a breed are tested on: the nearest whole number, a half upwards."""
    return math.floor(images * test_fraction + 0.5)


def drawn(labels: Sequence[int] | NDArray[np.int64], keys: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The place of each image in a random order of its breed, int64 [n], by a hash of the seed and its key: it depends
    on no other image's place, nor on the order in which they are given.
    """
    hashed = [hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest() for key in keys]
    # Keys in the second place, for the improbable case of equal hashes.
    order = sorted(range(len(keys)), key=lambda row: (labels[row], hashed[row], keys[row]))
    places = np.empty(len(keys), np.int64)
    seen: dict[int, int] = {}
    for row in order:
        label = int(labels[row])
        places[row] = seen.get(label, 0)
        seen[label] = seen.get(label, 0) + 1
    return places


def held_out(labels: NDArray[np.int64], places: NDArray[np.int64], test_fraction: float) -> NDArray[np.bool_]:
    """Which images are tested on, bool [n]: of each breed the first ones by their places, see `drawn`."""
    images = np.bincount(labels, minlength=1)
    wanted = np.array([count_tested(int(count), test_fraction) for count in images])
    return places < wanted[labels]


@dataclass(frozen=True)
class Known:
    """The labels, int64 [n], and the keys of all images of a dataset, in its order."""

    labels: NDArray[np.int64]
    keys: list[str]


def known_of(dataset: Dataset) -> Known:
    """
    Raises:
        DataError: the dataset has other splits than "all", or images of no known breed.
    """
    if tuple(dataset.splits) != (ALL,):
        raise DataError(
            f"{dataset.url} has the splits {', '.join(dataset.splits)}, not '{ALL}' alone: every training divides the "
            "images itself. Give a dataset that 'echelon pets prepare' wrote"
        )
    rows = dataset.rows(ALL)
    batches = list(span_batches(dataset, ALL, (LABEL, KEY), 0, rows, max(rows, 1)))
    labels = batches[0][LABEL].numpy() if batches else np.empty(0, np.int64)
    if unknown := int((labels < 0).sum()):
        raise DataError(f"{unknown} of {rows} images of {dataset.url} are of no known breed: prepare them anew")
    return Known(labels, [key for batch in batches for key in batch.strings(KEY)])


@dataclass(frozen=True)
class Chosen:
    """A division. masks: of each split which of the known images are in it, bool [n]."""

    problem: Problem
    known: Known
    masks: Mapping[str, NDArray[np.bool_]]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Of each split the images of each breed."""
        classes = self.problem.classes
        return {
            split: dict(
                zip(classes, np.bincount(self.known.labels[mask], minlength=len(classes)).tolist(), strict=True)
            )
            for split, mask in self.masks.items()
        }

    def keys_of(self, split: str) -> list[str]:
        """The keys of the images of a split."""
        return [self.known.keys[row] for row in np.flatnonzero(self.masks[split])]


@dataclass(frozen=True)
class Divided(Derived):
    """The images of a dataset that a problem is about, in the splits "train" and "test". Their labels stay."""

    source: Dataset
    breed: str | None
    against: str
    test_fraction: float
    seed: int

    def chosen(self) -> Chosen:
        """Which images are in which split.

        Raises:
            EchelonError: there is no such breed. DataError: as `known_of`.
        """
        classes = described(self.source).classes
        problem, known = Problem(classes, self.breed, self.against), known_of(self.source)
        kept = problem.concerns(torch.from_numpy(known.labels)).numpy()
        test = held_out(known.labels, drawn(known.labels, known.keys, self.seed), self.test_fraction)
        return Chosen(problem, known, {TRAIN: kept & ~test, TEST: kept & test})

    def write(self, url: str) -> Dataset:
        """Writes them at a URL, in bounded memory.

        Raises:
            DataError: no image is left to train on.
        """
        chosen = self.chosen()
        classes, counts = chosen.problem.classes, chosen.counts
        _check(chosen.problem, counts)
        info = {"recipe": "pets", "classes": list(classes), "counts": counts, PROBLEM: chosen.problem.title,
                "source": self.source.url} | {name: self.source.info.get(name) for name in _KEPT}  # fmt: skip
        return write_dataset(
            url,
            self.source.schema,
            {split: self._rows(mask) for split, mask in chosen.masks.items() if mask.any()},
            shuffle_seed=None if self.source.manifest.shuffled else self.seed,
            compression="none",
            info=info,
            overwrite=True,
        )

    def _rows(self, mask: NDArray[np.bool_]) -> Iterator[Mapping[str, Any]]:
        for batch in span_batches(self.source, ALL, (FEATURES, LABEL, KEY), 0, len(mask), _BATCH):
            at = np.flatnonzero(mask[batch.rows.numpy()])
            if len(at):
                keys = batch.strings(KEY)
                yield {
                    FEATURES: batch[FEATURES].numpy()[at],
                    LABEL: batch[LABEL].numpy()[at],
                    KEY: [keys[row] for row in at],
                }


def _check(problem: Problem, counts: Mapping[str, Mapping[str, int]]) -> None:
    """
    Raises:
        DataError: of something that shall be told apart there is no image to train on.
    """
    train, test = (problem.counts([counts[split][name] for name in problem.classes]) for split in (TRAIN, TEST))
    if missing := [name for name, count in zip(problem.answers, train, strict=True) if not count]:
        raise DataError(
            f"no image of {', '.join(missing)} is left to train on: lower --test-fraction, or prepare more images"
        )
    few = {name: count for name, count in zip(problem.answers, test, strict=True) if count < FEW}
    if sum(test) and few:
        told = [f"{name} {count}" for name, count in few.items()]
        more = f" and {len(told) - 5} more" if len(told) > 5 else ""
        _log.warning("fewer than %d test images, so figures say little: %s%s", FEW, ", ".join(told[:5]), more)
