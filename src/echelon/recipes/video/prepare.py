"""From TFRecord files to a dataset of videos, by tasks of Spark.

Frames do not travel through Spark's shuffle, which would copy terabytes some ten times: only the places of their
records do. The tasks that write a part read the records of that part from where they are. Means of videos, which are
seventy times smaller, travel themselves, as does what is compressed and can only be read from its beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echelon.data.cells import Decoded
from echelon.data.division import TRAIN, Division
from echelon.data.manifest import Dataset
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.video.columns import (
    CLASSES,
    FRAME,
    LABEL_COUNTS,
    LABELS,
    MOST_CLASSES,
    PICTURE,
    VIDEO,
    Level,
    schema_of,
)  # fmt: skip
from echelon.recipes.video.damage import by_file, told
from echelon.recipes.video.examples import Example, Form, level_of
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.placed import Locate, fetched
from echelon.recipes.video.rows import CUT, cut_of, values_of, video_of
from echelon.recipes.video.shards import contents
from echelon.recipes.video.sources import Shard, find_shards
from echelon.recipes.video.tfrecord import Loss
from echelon.recipes.video.vocabulary import read_vocabulary
from echelon.spark import prepare as spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_BATCH_BYTES = 4 << 20


def prepare(
    session: SparkSession,
    source: str,
    url: str,
    options: PrepareOptions,
    *,
    fitting: Form | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes the videos of TFRecord files as a dataset at a URL, see `schema_of`.

    Its info has how many videos each split has, how many of them have no label, the numbers of their frames, of how
    many frames were left out, the names of the labels if there is a vocabulary, and what is wrong: "problems" of
    records, the first with their reasons, and "damaged", by file how many records and bytes were lost. Its asset
    "label_counts" is int64 [classes], the training videos of each label.

    Args:
        source: see `find_shards`. fitting: what a learner was trained on, to evaluate or to predict: videos are all for
            testing then, unless the names of the files divide them.
        overwrite: whether a dataset at this URL may be replaced. on_progress: called from time to time.

    Raises:
        DataError: there are no such files, or not one good record. EchelonError: google-crc32c or protobuf is not
            installed, or Spark's tasks failed.
    """
    names = read_vocabulary(options.vocabulary) if options.vocabulary else {}
    storage, shards = find_shards(source, options, everything=fitting is not None)
    form = fitting or Form(_level(storage, shards, options), options.audio, options.max_frames)
    division = Division(options.test_fraction if fitting is None else 1, options.split_seed)
    by_place = form.level == FRAME and not any(shard.is_zipped for shard in shards)
    dataset, _ = spark.prepare_dataset(
        session,
        url,
        schema_of(form.level, form.audio),
        list(enumerate(shards)),
        Locate(storage, division) if by_place else _Read(storage, form, division),
        finish=fetched(storage, tuple(shard.path for shard in shards), form) if by_place else None,
        conclude=_Conclude(form, names, len(shards)),
        sums_of=_Sums(form),
        bytes_of=lambda item: item[1].size,
        shuffle_seed=options.shuffle_seed,
        compression=options.compression,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


def _level(storage: Storage, shards: tuple[Shard, ...], options: PrepareOptions) -> Level:
    """What the records are, by the options or the first good one.

    Raises:
        DataError: not one record could be read.
    """
    for level in (FRAME, VIDEO):
        if options.level == level:
            return level
    first = ""
    for shard in shards:
        for found in contents(storage, shard):
            try:
                if isinstance(found, Loss):
                    raise DataError(str(found))
                return level_of(found[1])
            except DataError as error:
                first = first or f": {storage.url_of(shard.path)}, {error}"
    raise DataError(f"not one of {len(shards)} files has a record of YouTube-8M{first}")


@dataclass(frozen=True)
class _Read:
    """The videos of a shard, in a task."""

    storage: Storage
    form: Form
    division: Division

    def __call__(self, item: tuple[int, Shard]) -> Iterator[spark.Found]:
        shard = item[1]
        held: list[Example] = []
        size = 0
        for found in contents(self.storage, shard):
            video = found if isinstance(found, Loss) else video_of(found[1], found[0], self.form)
            if isinstance(video, Loss):
                problem, counts = told(shard.path, video)
                yield problem
                yield counts
                continue
            held.append(video)
            size += sum(array.nbytes for array in video.features.values())
            if size >= _BATCH_BYTES:
                yield self._rows(held, shard)
                yield Counter({CUT: cut_of(held)})
                held, size = [], 0
        if held:
            yield self._rows(held, shard)
            yield Counter({CUT: cut_of(held)})

    def _rows(self, videos: list[Example], shard: Shard) -> spark.Rows:
        splits = shard.split or [self.division.split_of(video.key) for video in videos]
        return spark.Rows(values_of(videos, self.form), splits)


@dataclass(frozen=True)
class _Sums:
    """Of some rows of a split: how many videos each label has, how many have none, and of how many frames they are."""

    form: Form

    def __call__(self, split: str, rows: Mapping[str, Decoded]) -> Mapping[str, np.ndarray]:
        labels: list[np.ndarray] = rows[LABELS]  # type: ignore[assignment]
        sums = {"unlabelled": np.array(sum(not len(some) for some in labels))}
        if split == TRAIN:
            sums["labels"] = np.bincount(np.concatenate(labels), minlength=MOST_CLASSES)
        if self.form.level == FRAME:
            frames = [len(video) for video in rows[PICTURE[FRAME]]]
            sums["frames"] = np.bincount(frames, minlength=self.form.max_frames + 1)
        return sums


@dataclass(frozen=True)
class _Conclude:
    """What belongs to the dataset beside its rows."""

    form: Form
    names: Mapping[int, str]
    files: int

    def __call__(self, summary: spark.Summary) -> spark.Addition:
        counted = summary.sums.get(TRAIN, {}).get("labels", np.zeros(0, np.int64))
        classes = max(CLASSES, len(np.trim_zeros(counted, "b")), max(self.names, default=-1) + 1)
        info: dict[str, Any] = {
            "recipe": "video",
            "level": self.form.level,
            "files": self.files,
            "counts": dict(summary.rows),
            "unlabelled": {split: int(sums["unlabelled"]) for split, sums in summary.sums.items()},
            "damaged": by_file(summary.counts),
            **summary.info,
        }
        if self.form.level == FRAME:
            info["frames"] = {split: _lengths(sums["frames"]) for split, sums in summary.sums.items()}
            info["max_frames"] = self.form.max_frames
            info["cut"] = summary.counts.get(CUT, 0)
        if self.names:
            info["label_names"] = [self.names.get(label, "") for label in range(classes)]
        counts = np.zeros(classes, np.int64)
        counts[: min(classes, len(counted))] = counted[:classes]
        return spark.Addition(info, {LABEL_COUNTS: counts})


def _lengths(videos: np.ndarray) -> dict[str, int]:
    """videos: int64 [most + 1], how many have each number of frames."""
    lengths = np.flatnonzero(videos)
    total = int(videos @ np.arange(len(videos)))
    return {"total": total, "least": int(lengths[0]), "most": int(lengths[-1])}
