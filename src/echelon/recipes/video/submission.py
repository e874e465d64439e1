"""Predictions as the YouTube-8M challenge takes them.

A CSV file with the header `VideoId,LabelConfidencePairs` and a line for each video: its id, and up to 20 pairs of a
label and a confidence, the highest first, all with blanks between them. Numbers are written as by the public starter
code (`inference.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.video.columns import KEY
from echelon.recipes.video.learner import CONFIDENCES, IDS

HEADER = "VideoId,LabelConfidencePairs\n"
SUFFIX = ".csv"
_ROWS_AT_ONCE = 4096


def write_submissions(predictions: Dataset) -> list[str]:
    """Writes beside each split of some predictions "<split>.csv", in their order; the URLs of the files.

    Those that are there from earlier predictions are deleted first, other files of this ending stay. One batch at a
    time is held in memory.

    Raises:
        DataError: a file that is no submission has one of these names.
    """
    storage = predictions.storage
    for old in [entry.path for entry in storage.list(recursive=False) if entry.path.endswith(SUFFIX)]:
        if _is_submission(storage, old):
            storage.delete(old)
        elif old.removesuffix(SUFFIX) in predictions.splits:
            raise DataError(f"{storage.url_of(old)} is no submission, and one shall be written there: move it away")
    urls = []
    for split in predictions.splits:
        path = f"{split}{SUFFIX}"
        with storage.open_output(path) as file:
            file.write(HEADER.encode())
            rows = predictions.rows(split)
            for batch in span_batches(predictions, split, [KEY, IDS, CONFIDENCES], 0, rows, _ROWS_AT_ONCE):
                file.write(lines(batch).encode())
        urls.append(storage.url_of(path))
    return urls


def _is_submission(storage: Storage, path: str) -> bool:
    """Whether a file is one, or what a killed writer left of one."""
    with storage.open_input(path) as file:
        return HEADER.encode().startswith(file.read(len(HEADER)))


def lines(batch: Batch) -> str:
    """The lines of some predictions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(zip(batch.strings(KEY), _pairs(batch), strict=True))
    return text.getvalue()


def _pairs(batch: Batch) -> Iterator[str]:
    for ids, confidences in zip(batch[IDS].tolist(), batch[CONFIDENCES].tolist(), strict=True):
        yield " ".join([f"{label} {confidence:g}" for label, confidence in zip(ids, confidences, strict=True)])
