"""What a dataset of videos holds: the names, types and meaning of its columns.

The features are those of YouTube-8M (Abu-El-Haija et al., arXiv:1609.08675, and https://research.google.com/youtube8m):
one row of 1,024 numbers of the picture and one of 128 of the sound for each second of a video, or their means.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.errors import DataError

Level = Literal["frame", "video"]
FRAME: Level = "frame"
VIDEO: Level = "video"

RGB, AUDIO, MEAN_RGB, MEAN_AUDIO, LABELS, KEY = "rgb", "audio", "mean_rgb", "mean_audio", "labels", "key"
SIZES = {RGB: 1024, AUDIO: 128, MEAN_RGB: 1024, MEAN_AUDIO: 128}
"""Numbers of each feature, of a frame or of a video."""
PICTURE = {FRAME: RGB, VIDEO: MEAN_RGB}
SOUND = {FRAME: AUDIO, VIDEO: MEAN_AUDIO}

CLASSES = 3862
"""Labels of the public set since 2018."""
MOST_CLASSES = 1 << 16
"""Labels are below this."""
LABEL_COUNTS = "label_counts"
"""The asset with the training videos of each label, int64 [classes]."""

SCALE, SHIFT = 4 / 255, 4 / 512 - 2
"""A stored number x of a frame stands for x * SCALE + SHIFT, about -2 to 2: `Dequantize` of the public starter code."""


def schema_of(level: Level, audio: bool = True) -> Schema:
    """The columns of a dataset.

    Of frames: "rgb" uint8 [frames, 1024] and "audio" uint8 [frames, 128], quantised as they are published. Of videos:
    "mean_rgb" float32 [1024] and "mean_audio" float32 [128]. Of both: "labels" uint16 [labels], sorted and without
    repetition, and "key", the id of the video.
    """
    names = [PICTURE[level], *([SOUND[level]] if audio else [])]
    if level == FRAME:
        features = [Column(name, "uint8", (None, SIZES[name])) for name in names]
    else:
        features = [Column(name, "float32", (SIZES[name],)) for name in names]
    return Schema((*features, Column(LABELS, "uint16", (None,)), Column(KEY, "string")))


def level_of(dataset: Dataset) -> Level:
    """Whether the rows are frames or means.

    Raises:
        DataError: it is no dataset of videos.
    """
    for level in (FRAME, VIDEO):
        if {PICTURE[level], LABELS, KEY} <= set(dataset.schema.names):
            return level
    raise DataError(
        f"{dataset.url} is not a dataset of videos (columns: {', '.join(dataset.schema.names)}): "
        "write one with 'echelon video prepare'"
    )


def quantised(features: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Features from -2 to 2 as they are stored: the nearest of 256 steps; what lies outside is clipped."""
    return np.clip(np.rint((features - SHIFT) / SCALE), 0, 255).astype(np.uint8)
