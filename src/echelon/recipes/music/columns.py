"""What a dataset of music holds: the names, types and meaning of its columns.

A code is one sample of a song as a number of the μ-law, 0 to 255 (see `mulaw`). A window is one row: some consecutive
codes of a song.
"""

from __future__ import annotations

from dataclasses import dataclass

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.errors import DataError

SAMPLES, CONTEXT, SONG, OFFSET, KEY = "samples", "context", "song", "offset", "key"
CODE_COUNTS, PAIR_COUNTS = "code_counts", "pair_counts"
"""Assets, of the codes to train on: how often each occurs, int64 [256], and how often it follows each other one, int64
[256, 256] by the code before it and itself; before the first code of a song is `mulaw.SILENCE`."""


@dataclass(frozen=True)
class Form:
    """What the windows of a dataset are.

    rate: samples a second. window: codes of a window that are its own, at most. context: codes before these that it
    brings along, at most; at least 1. normalised: whether each song was scaled to a peak of 1.
    """

    rate: int
    window: int
    context: int
    normalised: bool


def schema_of() -> Schema:
    """The columns of a dataset.

    "samples": uint8 [codes], the codes of a window: first those that it brings along from before it in the song, then
    its own, which are to be predicted. "context": int32, how many of them it only brings along, min(context, offset).
    Every code of a song is one window's own. "song": path within the source. "offset": int64, the place of the first
    own code in the song, in samples. "key": "song@offset".
    """
    return Schema(
        (
            Column(SAMPLES, "uint8", (None,)),
            Column(CONTEXT, "int32"),
            Column(SONG, "string"),
            Column(OFFSET, "int64"),
            Column(KEY, "string"),
        )
    )


def form_of(dataset: Dataset) -> Form:
    """
    Raises:
        DataError: it is no dataset of music.
    """
    if not {SAMPLES, CONTEXT, SONG, OFFSET, KEY} <= set(dataset.schema.names) or "rate" not in dataset.info:
        raise DataError(
            f"{dataset.url} is not a dataset of music (columns: {', '.join(dataset.schema.names)}): "
            "write one with 'echelon music prepare'"
        )
    info = dataset.info
    return Form(info["rate"], info["window"], info["context"], info["normalised"])
