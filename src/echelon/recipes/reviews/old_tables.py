"""The old HDF5 files as a dataset, by tasks of Spark. Their vocabulary is not known, so ids are kept as they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon.data.division import TEST, Division
from echelon.data.manifest import Dataset
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.reviews.cleaning import Cleaning
from echelon.recipes.reviews.columns import (
    CLASSES,
    FIRST_WORD,
    KEY,
    LABEL,
    LENGTH,
    STARS,
    TOKENS,
    UNKNOWN,
    labels_of,
    schema_of,
)
from echelon.recipes.reviews.gathering import EMPTY, LINES
from echelon.recipes.reviews.hdf5 import lengths_of, opened, tables_of
from echelon.recipes.reviews.lines import Fields
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.sources import Source, split_named
from echelon.recipes.reviews.told import counts_of, described
from echelon.spark.job import run_tasks
from echelon.spark.prepare import Addition, Found, Rows, Summary, prepare_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_SPAN_ROWS = 1 << 16
_AT_ONCE = 4096
_MOST_ID = np.iinfo(np.int32).max


@dataclass(frozen=True)
class TableSpan:
    """Rows [start, end) of a table. split: of all of them; "" for a division by their ids."""

    path: str
    table: str
    start: int
    end: int
    columns: int
    split: str


def prepare_tables(
    session: SparkSession,
    source: Source,
    url: str,
    options: PrepareOptions,
    *,
    fitting: Fitting | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes the rows of old HDF5 files as a dataset at a URL, see `prepare`. Labels are 0 and 1, or 1 to 5 stars, or 0
    to 4 for these. Tables called train, val and test are these splits; other rows are divided by their ids, so that
    equal ones are in one split. Ids that a model does not have are those of unknown words to it.

    Raises:
        DataError: a file has no table, tables have different numbers of columns or labels that mean nothing, or a model
            knows words, which these files do not.
    """
    if fitting is not None and fitting.words:
        raise DataError(
            f"{source.storage.url_of(source.files[0].path)} holds ids of a vocabulary that is not known, the model was "
            "trained on words: give the reviews as JSON lines"
        )
    spans = _spans(source, everything=fitting is not None)
    found = run_tasks(session, partial(_extremes, source.storage), spans)
    extremes = [np.frombuffer(of, np.int64) for of in found]
    ids = max(int(max(extreme[0] for extreme in extremes)) + 1, FIRST_WORD)
    if ids - 1 > _MOST_ID or min(extreme[3] for extreme in extremes) < 0:
        raise DataError(f"the ids of {source.storage.url} are not between 0 and {_MOST_ID:,}")
    if fitting is not None and fitting.ids is not None:
        ids = fitting.ids
    count = len(fitting.classes) if fitting is not None else options.classes
    least, most = min(int(e[1]) for e in extremes), max(int(e[2]) for e in extremes)
    meaning = _Meaning.of(least, most, count, source.storage.url)
    schema = schema_of(spans[0].columns - 1, ids, text=False)
    division = Division(1 if fitting is not None else options.test_fraction, options.split_seed)
    cleaning = fitting.cleaning if fitting is not None else Cleaning()

    def conclude(summary: Summary) -> Addition:
        fields = Fields("ids", "label")
        info = described(CLASSES[count], summary.rows, summary.counts, summary, fields, cleaning, ids)
        return Addition(info, {})

    dataset, _ = prepare_dataset(
        session,
        url,
        schema,
        spans,
        _Read(source.storage, meaning, division, ids, fitting is not None),
        conclude=conclude,
        bytes_of=lambda span: (span.end - span.start) * 4 * span.columns,
        shuffle_seed=None if fitting is not None else options.shuffle_seed,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


@dataclass(frozen=True)
class _Meaning:
    """What labels mean. classes: of the dataset. added: what makes stars of labels; None where they are the classes."""

    classes: int
    added: int | None

    @classmethod
    def of(cls, least: int, most: int, classes: int, url: str) -> _Meaning:
        if classes == 2 and least >= 0 and most <= 1:
            return cls(classes, None)
        if least >= 1 and most <= STARS:
            return cls(classes, 0)
        if least >= 0 and most < STARS and most > 1:
            return cls(classes, 1)
        raise DataError(
            f"the labels of {url} are {least} to {most}: known are 0 and 1 (with --classes 2), 1 to {STARS} stars, or "
            f"0 to {STARS - 1} for these"
        )

    def labels(self, given: NDArray[np.int64]) -> NDArray[np.int64]:
        return given if self.added is None else labels_of(given + self.added, self.classes)


@dataclass(frozen=True)
class _Read:
    """The rows of a span, in a task. ids: from this number on they are of words that a model does not know. keep_empty:
    whether a row of padding alone is one with an unknown word.
    """

    storage: Storage
    meaning: _Meaning
    division: Division
    ids: int
    keep_empty: bool

    def __call__(self, span: TableSpan) -> Iterator[Found]:
        for start, table in _pieces(self.storage, span):
            ids, labels = table[:, :-1], self.meaning.labels(table[:, -1])
            lengths = lengths_of(ids)
            ids[lengths == 0, 0] = UNKNOWN
            ids[ids >= self.ids] = UNKNOWN
            kept = np.flatnonzero((lengths > 0) | self.keep_empty)
            yield Counter({LINES: len(table), EMPTY: int((lengths == 0).sum())})
            splits = np.array([span.split or self._drawn(row) for row in ids[kept]], dtype=object)
            keys = [f"{span.path}:{span.table}:{row}" for row in (kept + start).tolist()]
            values = {TOKENS: ids[kept], LENGTH: np.maximum(lengths[kept], 1), LABEL: labels[kept], KEY: keys}
            yield Rows(values, splits.tolist())
            yield counts_of(splits, labels[kept])

    def _drawn(self, ids: NDArray[np.int64]) -> str:
        return self.division.split_of(hashlib.blake2b(ids.tobytes(), digest_size=16).hexdigest())


def _spans(source: Source, *, everything: bool) -> Sequence[TableSpan]:
    spans: list[TableSpan] = []
    for file in source.files:
        with opened(source.storage, file.path) as content:
            tables = tables_of(content)
        if not tables:
            raise DataError(f"{source.storage.url_of(file.path)} has no table of integers with ids and a label")
        for name, (rows, columns) in tables.items():
            split = file.split or split_named(name) or (TEST if everything else "")
            for start in range(0, rows, _SPAN_ROWS):
                spans.append(TableSpan(file.path, name, start, min(start + _SPAN_ROWS, rows), columns, split))
    widths = sorted({span.columns for span in spans})
    if len(widths) != 1:
        raise DataError(f"the tables at {source.storage.url} have {widths or 'no'} columns: one number is needed")
    return spans


def _pieces(storage: Storage, span: TableSpan) -> Iterator[tuple[int, NDArray[np.int64]]]:
    with opened(storage, span.path) as file:
        table: Any = file[span.table]
        for start in range(span.start, span.end, _AT_ONCE):
            try:
                yield start, np.asarray(table[start : min(start + _AT_ONCE, span.end)], np.int64)
            except OSError as error:
                raise DataError(f"{storage.url_of(span.path)} is damaged in {span.table}: {error}") from None


def _extremes(storage: Storage, span: TableSpan) -> bytes:
    """Greatest id, least and greatest label, and least id, int64 [4]."""
    found = [
        (table[:, :-1].max(), table[:, -1].min(), table[:, -1].max(), table[:, :-1].min())
        for _, table in _pieces(storage, span)
    ]
    high, low_label, high_label, low = (np.array(values) for values in zip(*found, strict=True))
    return np.array([high.max(), low_label.min(), high_label.max(), low.min()], np.int64).tobytes()
