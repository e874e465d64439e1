"""What a dataset of images holds: the rows of each class, and the mean of all training images.

It is taken from the written files, by tasks that read some of them each, before the dataset is committed. Sums are of
integers, so they do not depend on how the files are shared out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echelon.data.cells import decode
from echelon.data.manifest import DataFile, Dataset
from echelon.data.parts import open_part
from echelon.recipes.images.rows import TRAIN
from echelon.spark.job import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHARES = 64
"""Tasks at most: each gives the driver one image of sums."""


@dataclass(frozen=True)
class Census:
    """counts: rows of each class by split. mean: of the training images, float32 [3, H, W]; zeros if there are none."""

    counts: dict[str, dict[str, int]]
    mean: NDArray[np.float32]


def take_census(session: SparkSession, dataset: Dataset, classes: Sequence[str]) -> Census:
    """Counts the rows of a dataset, which need not be committed yet, and sums up the images of its training split."""
    splits = dataset.splits
    files = [(split, file) for split in splits for file in dataset.manifest.files(split)]
    shares = [tuple(files[number::SHARES]) for number in range(min(SHARES, len(files)))]
    parts = run_tasks(session, _Count(dataset, len(classes)), shares, description="Echelon: mean image")
    counts = np.zeros((len(splits), len(classes)), np.int64)
    pixels = np.zeros(dataset.schema.column("image").inner, np.int64)
    for part in parts:
        sums = np.frombuffer(part, np.int64)
        counts += sums[: counts.size].reshape(counts.shape)
        pixels += sums[counts.size :].reshape(pixels.shape)
    trained = int(counts[splits.index(TRAIN)].sum()) if TRAIN in splits else 0
    named = {split: dict(zip(classes, row.tolist(), strict=True)) for split, row in zip(splits, counts, strict=True)}
    return Census(named, (pixels / max(trained, 1)).astype(np.float32))


@dataclass(frozen=True)
class _Count:
    """For some files: rows by split and class, and the sum of the training images, as int64 one after the other."""

    dataset: Dataset
    classes: int

    def __call__(self, files: tuple[tuple[str, DataFile], ...]) -> bytes:
        splits, schema = self.dataset.splits, self.dataset.schema.select(("image", "label"))
        counts = np.zeros((len(splits), self.classes), np.int64)
        pixels = np.zeros(schema.column("image").inner, np.int64)
        for split, file in files:
            wanted = schema if split == TRAIN else schema.select(("label",))
            with open_part(self.dataset, file) as part:
                for group in range(len(file.row_groups)):
                    rows = decode(wanted, part.read([group], wanted.names))
                    counts[splits.index(split)] += np.bincount(np.asarray(rows["label"]), minlength=self.classes)
                    if split == TRAIN:
                        pixels += np.asarray(rows["image"]).sum(axis=0, dtype=np.int64)
        return counts.tobytes() + pixels.tobytes()
