"""From raw files to a dataset of images, by tasks of Spark."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon.data.cells import Decoded
from echelon.data.manifest import Dataset
from echelon.data.storage import Storage
from echelon.errors import DataError, EchelonError
from echelon.recipes.images.batches import StoredImages
from echelon.recipes.images.labelled import IMAGE, KEY, LABEL, MEAN, schema_of
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.meaning import OtherClasses
from echelon.recipes.images.options import PrepareOptions
from echelon.recipes.images.rows import TRAIN, UNLABELLED, Division, Item, Pixels, Problem, Rows, Source
from echelon.recipes.images.sources import find_source
from echelon.recipes.images.travelling import CONVERTED, finish, travelling
from echelon.spark import prepare as spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_FIT_UINT16 = 65535 // 255
_EVERYTHING = Division(test_fraction=1, seed=0)
_log = logging.getLogger(__name__)


def prepare(
    session: SparkSession,
    source: str,
    url: str,
    options: PrepareOptions,
    *,
    fitting: ImagesLearner | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes the images of a source as a dataset at a URL: "image" (uint8 [3, H, W], RGB), "label" (int64) and "key".

    Its info has the names of the classes in the order of their labels, the rows of each class by split, how many images
    were not RGB in their files, and how many were left out, with the first reasons. Its asset "mean" is the mean of the
    training images, float32 [3, H, W], if there are any.

    Args:
        source: see `find_source`. fitting: the dataset is for this learner, to evaluate or to predict: it gets its
            classes, size and order of raw channels, a source without a test part is all for testing, and images may
            have no label (-1): none has one where the labels of the source mean classes that the learner does not know,
            which is logged. They can be predicted, not evaluated.
        overwrite: whether a dataset at this URL may be replaced. on_progress: called from time to time.

    Raises:
        DataError: the source is unknown, does not fit, or holds not one good image.
        EchelonError: a CIFAR-10 batch is damaged, or Spark's tasks failed otherwise.
    """
    size, division, classes, channels = options.height_width, options.division, None, options.raw_channels
    if fitting is not None:
        size, division, classes = (fitting.size[0], fitting.size[1]), _EVERYTHING, fitting.classes
        channels = fitting.raw_channels
    storage, found, labelled = _found(source, size, division, classes, channels == "bgr")
    if found.size not in (None, size) and fitting is not None:
        raise DataError(f"the images at {source} are {_sides(found.size)}, the model was trained on {_sides(size)}")
    size = found.size or size
    dataset, _ = spark.prepare_dataset(
        session,
        url,
        schema_of(size),
        found.items,
        _Read(storage, labelled),
        finish=finish(size, storage) if any(isinstance(item, StoredImages) for item in found.items) else None,
        conclude=_Conclude(found, size, channels),
        sums_of=_Sums(len(found.classes)),
        brief=all(isinstance(item, StoredImages) and item.is_brief(storage) for item in found.items if item.images),
        bytes_of=lambda item: item.images * 3 * size[0] * size[1],
        shuffle_seed=options.shuffle_seed,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


def _found(
    source: str, size: tuple[int, int], division: Division, classes: Sequence[str] | None, blue_first: bool
) -> tuple[Storage, Source, bool]:
    """As `find_source`, and whether its labels mean the wanted classes. If not, they are of no use."""
    try:
        return *find_source(source, size, division, classes, blue_first), True
    except OtherClasses as error:
        if classes is None:
            raise
        _log.warning("%s. The images are taken without labels: they can be predicted, but not evaluated", error)
    storage, found = find_source(source, size, division, None, blue_first)
    return storage, replace(found, classes=tuple(classes)), False


@dataclass(frozen=True)
class _Read:
    """The rows of an item, in a task. labelled: whether its labels are kept."""

    storage: Storage
    labelled: bool

    def __call__(self, item: Item) -> Iterator[spark.Found]:
        try:
            for found in self._rows(item):
                yield found if self.labelled or not isinstance(found, spark.Rows) else _unlabelled(found)
        except DataError as error:
            # A damaged archive is no image to leave out: thousands would be missing.
            raise EchelonError(str(error)) from None

    def _rows(self, item: Item) -> Iterator[spark.Found]:
        if isinstance(item, StoredImages):
            yield from travelling(item.stored(self.storage), item.size, item.split)
            return
        for found in item.rows(self.storage):
            yield from (found,) if isinstance(found, Problem) else self._columns(item, found)

    def _columns(self, item: Item, rows: Rows) -> Iterator[spark.Found]:
        yield spark.Rows({IMAGE: rows.images, LABEL: rows.labels, KEY: rows.keys}, item.split)
        yield Counter({CONVERTED: rows.converted})


def _unlabelled(rows: spark.Rows) -> spark.Rows:
    labels = np.full(len(rows.values[KEY]), UNLABELLED, np.int64)
    return replace(rows, values={**rows.values, LABEL: labels})


@dataclass(frozen=True)
class _Sums:
    """Of some rows of a split: how many there are of each class, and the sum of training images."""

    classes: int

    def __call__(self, split: str, rows: Mapping[str, Decoded]) -> Mapping[str, np.ndarray]:
        labels = np.asarray(rows[LABEL])
        known = labels[labels != UNLABELLED]
        counts = {"counts": np.bincount(known, minlength=self.classes)}
        if split != TRAIN:
            return counts
        return {**counts, "pixels": _sum(np.asarray(rows[IMAGE]))}


@dataclass(frozen=True)
class _Conclude:
    """What belongs to the dataset beside its rows."""

    source: Source
    size: tuple[int, int]
    raw_channels: str

    def __call__(self, summary: spark.Summary) -> spark.Addition:
        classes = self.source.classes
        info: dict[str, Any] = {
            "recipe": "images",
            "source": self.source.kind,
            "classes": list(classes),
            "counts": {
                split: dict(zip(classes, sums["counts"].tolist(), strict=True)) for split, sums in summary.sums.items()
            },
            "unlabelled": sum(summary.rows.values()) - sum(int(sums["counts"].sum()) for sums in summary.sums.values()),
            "converted": summary.counts.get(CONVERTED, 0),
            "raw_channels": self.raw_channels,
            **summary.info,
        }
        if TRAIN not in summary.sums:
            return spark.Addition(info, {})
        mean = summary.sums[TRAIN]["pixels"] / summary.rows[TRAIN]
        return spark.Addition(info, {MEAN: mean.astype(np.float32)})


def _sum(images: Pixels) -> NDArray[np.int64]:
    """Their sum over the first axis. Of few enough, it fits into 16 bits, which takes a quarter of the time."""
    total = np.zeros(images.shape[1:], np.int64)
    for start in range(0, len(images), _FIT_UINT16):
        total += np.add.reduce(images[start : start + _FIT_UINT16], axis=0, dtype=np.uint16)
    return total


def _sides(size: tuple[int, int] | None) -> str:
    return f"{size[1]}x{size[0]}" if size else "of any size"
