"""One dataset made of another, file by file and in its order, where rows need what only all of them together say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from echelon.data.cells import encode
from echelon.data.commit import commit, write_asset
from echelon.data.manifest import DataFile, Dataset
from echelon.data.parts import open_part
from echelon.data.schema import Schema
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.spark.carriage import Run
from echelon.spark.job import OnProgress, run_tasks
from echelon.spark.ledger import Ledger
from echelon.spark.notes import Notes
from echelon.spark.prepare import Rows
from echelon.spark.scattered import Format, Written, write_runs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Step = Callable[[pa.RecordBatch], Iterable[Rows | Counter[str]]]
"""Makes of some rows of a dataset, in their stored layout, those of another, each in its split, and counts."""


@dataclass(frozen=True)
class Rewritten:
    """What became of the rows. rows: of each split. counts: all counters added up."""

    rows: Mapping[str, int]
    counts: Mapping[str, int]


def rewrite_dataset(
    session: SparkSession,
    source: Dataset,
    storage: Storage,
    schema: Schema,
    step: Step,
    *,
    conclude: Callable[[Rewritten], tuple[Mapping[str, Any], Mapping[str, NDArray]]],
    row_group_mb: float = 4,
    compression: str = "zstd",
    ledger: Ledger | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes and commits a dataset, in a folder that `start` has made ready, of the rows of another one.

    Each data file is read once, by one task in bounded memory, and becomes one of every split that its rows are in. The
    rows keep their order, so that they are shuffled if they were.

    Args:
        step: a pure function, which must be picklable. conclude: info and assets; called on the driver before the
            dataset is committed. ledger: gives files names of their own, where tasks of a killed driver may still write
            theirs.

    Raises:
        DataError: not one row is left, or a file of the source is damaged. WorkerFailed: the step raised.
        CommunicationError, StorageError: processes or storage failed.
    """
    files = [file for split in source.splits for file in source.manifest.files(split) if file.rows]
    form = Format(storage.url, row_group_mb, compression, ledger=ledger)
    work = _Rewrite(source, schema, step, form)
    described = f"Echelon: write {storage.url}"
    results = run_tasks(session, work, list(enumerate(files)), description=described, on_progress=on_progress)
    whole = Written.merged(map(_unpacked, results))
    counted = {split: sum(file.rows for file in of) for split, of in whole.splits.items()}
    if not any(counted.values()):
        raise DataError(f"not one row of {source.url} is left to be written to {storage.url}")
    info, assets = conclude(Rewritten(counted, dict(whole.notes.counts)))
    written = {name: write_asset(storage, name, np.asarray(array)) for name, array in assets.items()}
    return commit(storage, schema, whole.splits, info, written, shuffled=source.manifest.shuffled)


@dataclass(frozen=True)
class _Rewrite:
    """One file, in a task."""

    source: Dataset
    schema: Schema
    step: Step
    form: Format

    def __call__(self, numbered: tuple[int, DataFile]) -> bytes:
        part, file = numbered
        notes = Notes()
        whole = write_runs(self._runs(part, file, notes), self.schema, self.form)
        whole.notes = notes
        return _packed(whole)

    def _runs(self, part: int, file: DataFile, notes: Notes) -> Iterator[Run]:
        for batch in batches_of(self.source, file):
            for found in self.step(batch):
                if isinstance(found, Counter):
                    notes.counts.update(found)
                    continue
                rows = encode(self.schema, found.values)
                for split, of_split in _divided(rows, found):
                    yield Run(part, split, of_split)


def batches_of(dataset: Dataset, file: DataFile, columns: Iterable[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of one data file in their stored layout, a row group at a time.

    Raises:
        DataError: the file is missing or damaged. StorageError: it cannot be read at present.
    """
    names = tuple(columns) if columns is not None else dataset.schema.names
    with open_part(dataset, file) as part:
        for group in range(len(file.row_groups)):
            yield from part.read([group], names).combine_chunks().to_batches()


def _divided(rows: pa.RecordBatch, found: Rows) -> Iterator[tuple[str, pa.RecordBatch]]:
    if isinstance(found.splits, str):
        yield found.splits, rows
        return
    splits = np.asarray(found.splits, dtype=object)
    for split in sorted(set(found.splits)):
        yield split, rows.filter(pa.array(splits == split))


def _packed(whole: Written) -> bytes:
    batch, sink = whole.to_batch(), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _unpacked(packed: bytes) -> dict[str, Any]:
    return pa.ipc.open_stream(packed).read_all().to_pylist()[0]
