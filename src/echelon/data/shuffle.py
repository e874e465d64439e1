"""A global shuffle in bounded memory: every row gets a random key, and the shuffled order is the order of the keys.

A key is a pure function of (seed, item, row), so the order does not depend on who computes it, nor on how many buckets
or how much memory it takes. One process sorts here, through files; Spark partitions by `bucket_of` and sorts within
the partitions. Both give the same order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from echelon.errors import StorageError

KEY_BITS = 63
_KEY = ""
"""The column of the keys while rows are sorted; no column of a dataset can have this name."""
_DIGIT_BITS = 6
_SLICE_BYTES = 16 << 20

Keys = NDArray[np.int64]


def shuffle_keys(seed: int, item: int, first_row: int, rows: int) -> Keys:
    """The keys of consecutive rows of an item, in [0, 2^63) (int64, [rows]).

    item: what is read in a fixed order of its own, such as one input file; rows are counted from 0 in each.

    Raises:
        ValueError: a negative seed, item or row.
    """
    if min(seed, item, first_row, rows) < 0:
        raise ValueError(f"seed, item and rows must not be negative, got {seed}, {item}, {first_row}, {rows}")
    stream = np.random.PCG64(np.random.SeedSequence((seed, item)))
    stream.advance(first_row)
    return (stream.random_raw(rows) >> np.uint64(1)).astype(np.int64)


def bucket_of(keys: Keys, buckets: int) -> NDArray[np.int64]:
    """The bucket of each key, in [0, buckets): ranges of equal width, so that buckets in turn are in the keys' order.

    Raises:
        ValueError: the number of buckets is not in [1, 2^31].
    """
    if not 1 <= buckets <= 1 << 31:
        raise ValueError(f"there must be between 1 and 2^31 buckets, got {buckets}")
    return ((keys >> (KEY_BITS - 32)) * buckets) >> 32


def shuffled(
    batches: Iterable[pa.RecordBatch], seed: int, memory_bytes: int, folder: str | None = None
) -> Iterator[pa.RecordBatch]:
    """All rows of the batches, which are one item, in the order of their keys.

    memory_bytes: about what is held at a time; what exceeds it waits in files without a name, which vanish with the
        process however it ends. They lie in `folder`, or in the system's place for temporary files.

    Raises:
        StorageError: the files cannot be written.
    """
    # Half of it, because rows that are held are for a moment there twice: as they came and in one piece.
    return _sorted(_with_keys(batches, seed), 0, memory_bytes // 2, folder)


def _with_keys(batches: Iterable[pa.RecordBatch], seed: int) -> Iterator[pa.RecordBatch]:
    row = 0
    for batch in batches:
        yield batch.append_column(pa.field(_KEY, pa.int64()), pa.array(shuffle_keys(seed, 0, row, len(batch))))
        row += len(batch)


def _sorted(batches: Iterable[pa.RecordBatch], depth: int, limit: int, folder: str | None) -> Iterator[pa.RecordBatch]:
    """The rows, whose keys share their first `depth` digits, in the keys' order."""
    held = _Held()
    with ExitStack() as stack:
        buckets: list[_Bucket] = []
        for batch in batches:
            held.add(batch)
            # One row alone cannot be divided, however large it is, nor can rows whose digits are used up.
            if held.bytes > limit and held.rows > 1 and depth < KEY_BITS // _DIGIT_BITS:
                if not buckets:
                    buckets = [stack.enter_context(_Bucket(folder)) for _ in range(1 << _DIGIT_BITS)]
                _scatter(held.take(), depth, buckets)
        if not buckets:
            yield from _in_order(held.take())
            return
        _scatter(held.take(), depth, buckets)
        for bucket in buckets:
            yield from _sorted(bucket.drain(), depth + 1, limit, folder)


class _Held:
    """Rows in memory."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self.bytes = self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self.bytes += batch.nbytes
        self.rows += len(batch)

    def take(self) -> pa.Table | None:
        """All of them in one piece, and no longer here."""
        batches, self._batches, self.bytes, self.rows = self._batches, [], 0, 0
        return pa.Table.from_batches(batches).combine_chunks() if batches else None


def _scatter(table: pa.Table | None, depth: int, buckets: list[_Bucket]) -> None:
    """Put each row into the bucket of its key's digit number `depth`."""
    if table is None:
        return
    keys = table.column(_KEY).to_numpy()
    digits = (keys >> (KEY_BITS - _DIGIT_BITS * (depth + 1))) & (len(buckets) - 1)
    order = np.argsort(digits, kind="stable")
    ends = np.searchsorted(digits[order], np.arange(len(buckets) - 1), side="right")
    for bucket, rows in zip(buckets, np.split(order, ends), strict=True):
        bucket.append(table.take(rows))


def _in_order(table: pa.Table | None) -> Iterator[pa.RecordBatch]:
    if table is None:
        return
    order = np.argsort(table.column(_KEY).to_numpy(), kind="stable")
    table = table.drop_columns([_KEY])
    step = max(1, _SLICE_BYTES * len(table) // max(table.nbytes, 1))
    for start in range(0, len(table), step):
        yield from table.take(order[start : start + step]).combine_chunks().to_batches()


class _Bucket:
    """Rows that wait in a file without a name, which is given back when the context ends or the rows were taken."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder or tempfile.gettempdir()
        self._file: IO[bytes] | None = None
        self._writer: pyarrow.ipc.RecordBatchStreamWriter | None = None

    def append(self, table: pa.Table) -> None:
        if not len(table):
            return
        with self._named():
            if self._file is None or self._writer is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by __exit__)
                self._writer = pyarrow.ipc.new_stream(pa.PythonFile(self._file, mode="w"), table.schema)
            self._writer.write_table(table)

    def drain(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order in which they came."""
        if self._file is None or self._writer is None:
            return
        with self._named():
            self._writer.close()
            self._file.seek(0)
        yield from pyarrow.ipc.open_stream(pa.PythonFile(self._file, mode="r"))
        self._file.close()

    def __enter__(self) -> _Bucket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"cannot keep rows in {self._folder} while they are shuffled: {error}. "
                "Free some space there, or set TMPDIR to a folder with room for the whole dataset"
            ) from error
