"""Datasets as `prepare` writes them, without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.recipes.video.columns import CLASSES, FRAME, LABEL_COUNTS, VIDEO, schema_of
from echelon.recipes.video.made import Means, Video

Videos = Sequence[Video] | Sequence[Means]


def video_dataset(folder: Path, splits: dict[str, Videos], *, audio: bool = True, group_mb: float = 4) -> Dataset:
    """Made videos, of frames or of means. group_mb: of a row group."""
    level = FRAME if isinstance(next(iter(splits.values()))[0], Video) else VIDEO
    schema = schema_of(level, audio)
    counts = np.zeros(CLASSES, np.int64)
    rows = {}
    for split, videos in splits.items():
        rows[split] = [{name: [_value(video, name) for video in videos] for name in schema.names}]
        if split == "train":
            np.add.at(counts, np.concatenate([list(video.labels) for video in videos]).astype(int), 1)
    info = {"recipe": "video", "level": level, "counts": {split: len(videos) for split, videos in splits.items()}}
    return write_dataset(str(folder), schema, rows, info=info, assets={LABEL_COUNTS: counts}, row_group_mb=group_mb)


def _value(video: Video | Means, name: str) -> object:
    value = getattr(video, name)
    return np.asarray(sorted(value), np.uint16) if name == "labels" else value
