"""Rows that Spark has scattered to their parts become data files, and what the tasks wrote becomes one dataset.

Each part's rows arrive in one task, sorted. Where each row goes is a function of the input and the seed alone, so the
files are the same for any number of tasks, cores and hosts.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echelon.allocation import kept_memory
from echelon.data.cells import Decoded, decode
from echelon.data.manifest import DataFile
from echelon.data.schema import Schema
from echelon.data.storage import Storage, open_storage
from echelon.data.write import PartWriter
from echelon.spark.carriage import ORDER, PLACE, Carriage, Run
from echelon.spark.finish import Finish, Stopped, finished
from echelon.spark.job import Reports
from echelon.spark.ledger import Ledger
from echelon.spark.merged import Merge, merged
from echelon.spark.notes import Notes
from echelon.spark.packed import settle

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Arrays = dict[str, NDArray]
SumsOf = Callable[[str, Mapping[str, Decoded]], Mapping[str, NDArray]]

_log = logging.getLogger(__name__)
WRITTEN = "files string, sums binary, notes string"
"""Spark's schema of `Written.to_batch`."""
_BATCH_BYTES = 16 << 20
_UNKNOWN_CELL_BYTES = 64 << 10
_MERGED_AT_ONCE = 32


@dataclass(frozen=True)
class Format:
    """How data files are written.

    sums_of: arrays over some rows of a split that are added up over all rows. ledger: for receipts of parts; None where
    nothing goes on after a kill.
    """

    url: str
    row_group_mb: float = 4
    compression: str = "zstd"
    sums_of: SumsOf | None = None
    ledger: Ledger | None = None


@dataclass
class Written:
    """What tasks wrote. files: (split, part) → file. sums: split → arrays by name. notes: of what they finished."""

    files: dict[tuple[str, int], DataFile] = field(default_factory=dict)
    sums: dict[str, Arrays] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def add(self, split: str, sums: Mapping[str, NDArray]) -> None:
        """Adds to the sums of a split."""
        of_split = self.sums.setdefault(split, {})
        for name, value in sums.items():
            of_split[name] = of_split[name] + value if name in of_split else np.array(value)

    @property
    def splits(self) -> dict[str, tuple[DataFile, ...]]:
        """The files of each split in order."""
        names = sorted({split for split, _ in self.files})
        return {name: tuple(self.files[key] for key in sorted(self.files) if key[0] == name) for name in names}

    def to_batch(self) -> pa.RecordBatch:
        files = [[split, part, file.to_json()] for (split, part), file in self.files.items()]
        named = {f"{split}/{name}": value for split, of in self.sums.items() for name, value in of.items()}
        notes = json.dumps(self.notes.to_json())
        return pa.RecordBatch.from_pydict({"files": [json.dumps(files)], "sums": [_packed(named)], "notes": [notes]})

    @classmethod
    def merged(cls, rows: Iterable[Mapping[str, Any]]) -> Written:
        """All that was written, of rows as in `to_batch`."""
        whole = cls()
        for row in rows:
            found = json.loads(row["files"])
            whole.files |= {(split, part): DataFile.from_json(file) for split, part, file in found}
            whole.notes.merge(Notes.from_json(json.loads(row["notes"])))
            with np.load(_unpacked(row["sums"]), allow_pickle=False) as arrays:
                for path in arrays.files:
                    split, _, name = path.partition("/")
                    whole.add(split, {name: arrays[path]})
        return whole


def _packed(arrays: Mapping[str, NDArray]) -> bytes:
    """By zstd, since NumPy's own compression takes a tenth of a second for the sum of some images."""
    file, target = io.BytesIO(), pa.BufferOutputStream()
    named: dict[str, Any] = dict(arrays)
    np.savez(file, **named)
    with pa.CompressedOutputStream(target, "zstd") as packing:
        packing.write(file.getbuffer())
    return target.getvalue().to_pybytes()


def _unpacked(packed: bytes) -> io.BytesIO:
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as file:
        return io.BytesIO(file.read())


def written(
    packed: DataFrame,
    carriage: Carriage,
    schema: Schema,
    form: Format,
    reports: Reports,
    merge: Merge | None = None,
    finish: Finish | None = None,
) -> DataFrame:
    """The plan that writes packed rows; its rows are for `Written.merged`.

    schema: of the dataset; that of the carriage without a finish.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        notes = Notes()
        parts: set[int] = set()
        runs = _noted(chain.from_iterable(map(carriage.unpack, batches)), parts)
        if merge is not None:
            runs = merged(runs, merge, carriage.schema, notes)
        if finish is not None:
            runs = finished(runs, finish, schema, notes, reports)
        try:
            # Each piece of rows wants the same few blocks again.
            with kept_memory():
                whole = write_runs(runs, schema, form)
        except Stopped:
            return
        whole.notes = notes
        result = whole.to_batch()
        if form.ledger is not None and len(parts) == 1:
            form.ledger.note(parts.pop(), _token(form), result)
        yield result
        settle()

    def gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield Written.merged(row for batch in batches for row in batch.to_pylist()).to_batch()

    placed = packed.repartition(carriage.parts, PLACE).sortWithinPartitions(*ORDER)
    results = placed.mapInArrow(write, WRITTEN)
    if carriage.parts <= _MERGED_AT_ONCE or form.sums_of is None:
        return results
    # Sums can be large: the driver gets a few, not one of each part.
    return results.repartition(-(-carriage.parts // _MERGED_AT_ONCE)).mapInArrow(gather, WRITTEN)


def written_before(storage: Storage, ledger: Ledger) -> dict[int, dict[str, Any]]:
    """By part what a killed prepare has written, as a row for `Written.merged`, where all its files are there still."""
    sizes = {entry.path: entry.size for entry in storage.list()}
    kept = {}
    for part, row in ledger.receipts():
        files = Written.merged([row]).files.values()
        if all(sizes.get(file.path) == file.size for file in files):
            kept[part] = row
    _log.info("%d parts of %s were written before and are kept", len(kept), storage.url)
    return kept


def rows_at_once(schema: Schema) -> int:
    """How many rows of a schema a task handles at once in bounded memory."""
    row = sum(
        _UNKNOWN_CELL_BYTES if column.is_variable else 64 if column.is_string else column.cell_bytes
        for column in schema.columns
    )
    return max(16, min(10_000, _BATCH_BYTES // row))


@contextmanager
def bounded_batches(session: SparkSession, schema: Schema, *, repeatable: bool) -> Iterator[None]:
    """For the length of the block Spark hands rows to Python in batches of a bounded size.

    repeatable: tasks that are run again give the same rows, so Spark need not compare checksums of them all.
    """
    # Spark 3.5 counts rows only; from Spark 4 on bytes are counted too, and the guess at a row matters less.
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(rows_at_once(schema)),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(_BATCH_BYTES),
    }
    if repeatable:
        settings["spark.sql.shuffle.orderIndependentChecksum.enabled"] = "false"
    before = {name: session.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                session.conf.unset(name)
            else:
                session.conf.set(name, old)


def write_runs(runs: Iterable[Run], schema: Schema, form: Format) -> Written:
    """Writes the runs of one task, part after part, each split of a part to a file of its own.

    Raises:
        DataError: a split has no usable name, or rows do not fit the schema. StorageError: it cannot be written.
    """
    storage, token = open_storage(form.url), _token(form)
    whole, part = Written(), -1
    writers: dict[str, PartWriter] = {}

    def close() -> None:
        whole.files |= {(split, part): writer.close() for split, writer in writers.items()}
        writers.clear()

    for run in runs:
        if run.part != part:
            close()
            part = run.part
        if run.split not in writers:
            writers[run.split] = PartWriter(
                storage,
                run.split,
                schema,
                part,
                token,
                row_group_mb=form.row_group_mb,
                compression=form.compression,
            )
        writers[run.split].write(run.rows)
        if form.sums_of is not None:
            whole.add(run.split, form.sums_of(run.split, decode(schema, run.rows)))
    close()
    return whole


def _noted(runs: Iterable[Run], parts: set[int]) -> Iterator[Run]:
    """The runs; their parts are added to the set."""
    for run in runs:
        parts.add(run.part)
        yield run


def _token(form: Format) -> str:
    """Keeps the file of a second try apart from what the first may still write; the first needs no name of its own."""
    from pyspark import TaskContext

    context = TaskContext.get()
    attempt = context.attemptNumber() if context is not None else 0
    said = (form.ledger.token if form.ledger is not None else "", f"try{attempt + 1}" if attempt else "")
    return "-".join(filter(None, said))
