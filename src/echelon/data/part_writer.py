"""Writing one data file: a stream of rows becomes row groups of a few MB in a Parquet file that says how to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_128

from echelon.data.cells import conform
from echelon.data.compression import check_compression, codecs
from echelon.data.manifest import DataFile
from echelon.data.parts import data_file
from echelon.data.schema import Schema
from echelon.data.storage import Storage
from echelon.errors import DataError, StorageError

CONTENT_DIGEST = "echelon.content"
"""Key in the footer of a data file: XXH3-128 of all bytes before it, so that the footer's digest covers the rows.

It tells datasets apart and is no protection from forgers, who could write another footer too. A cryptographic one takes
half as long as writing itself.
"""


class Regroup:
    """Cuts a stream of record batches into row groups.

    A row group ends with the row that brings its values to `target_bytes`, however the rows came in batches.
    """

    def __init__(self, schema: Schema, target_bytes: int) -> None:
        self._schema = schema
        self._target = max(1, target_bytes)
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def push(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """The row groups that are complete with these rows, which are in the stored layout."""
        ends = self._bytes + np.cumsum(_row_bytes(self._schema, batch))
        start = taken = 0
        while (last := int(np.searchsorted(ends, taken + self._target))) < len(batch):
            self._held.append(batch.slice(start, last + 1 - start))
            yield from self.rest()
            start, taken = last + 1, int(ends[last])
        if start < len(batch):
            self._held.append(batch.slice(start))
            self._bytes = int(ends[-1]) - taken

    def rest(self) -> Iterator[pa.Table]:
        """The last row group, if any rows are left."""
        held, self._held, self._bytes = self._held, [], 0
        if held:
            yield pa.Table.from_batches(held).combine_chunks()


def _row_bytes(schema: Schema, batch: pa.RecordBatch) -> np.ndarray:
    """Bytes of the values of each row (int64, [rows])."""
    fixed = sum(column.cell_bytes for column in schema.columns if not column.is_string and not column.is_variable)
    sizes = np.full(len(batch), fixed, dtype=np.int64)
    for column in schema.columns:
        if column.is_string or column.is_variable:
            sizes += pc.binary_length(batch.column(column.name)).to_numpy(zero_copy_only=False)
    return sizes


class PartWriter:
    """Writes one data file of a split; a Spark task makes one for each part that it writes.

    The same rows always give the same bytes. Nothing belongs to the dataset before `commit` was given what `close`
    returns, so a writer that fails or is killed needs no cleaning up: `start` clears what it left.

    part: the file's number within the split. token: tells this attempt from others that may write the same part, which
        must not share a file. row_group_mb: bytes of values in a row group. compression: a codec of Parquet for the
        columns that it makes smaller, see `codecs`, or "none".

    Raises:
        DataError: the split's name cannot be that of a folder, the codec is unknown, or rows do not fit the schema.
        StorageError: the file cannot be written.
    """

    def __init__(
        self,
        storage: Storage,
        split: str,
        schema: Schema,
        part: int,
        token: str = "",
        *,
        row_group_mb: float = 4,
        compression: str = "zstd",
    ) -> None:
        check_split(split)
        check_compression(compression)
        self.path = f"split={split}/part-{part:05d}{token and '-' + token}.parquet"
        self.bytes = 0
        self._storage = storage
        self._schema = schema
        self._regroup = Regroup(schema, int(row_group_mb * 2**20))
        self._sink = _Digesting(storage.open_output(self.path))
        self._compression = compression
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows. Columns that the schema does not name are left out, lists become cells."""
        for group in self._regroup.push(conform(self._schema, batch)):
            self.write_group(group)

    def write_group(self, table: pa.Table) -> None:
        """Append rows in the stored layout as one row group."""
        self.bytes += table.nbytes
        with self._named():
            self._writing(table).write_table(table, row_group_size=max(1, len(table)))

    def close(self) -> DataFile:
        """Finish the file, and look whether it is there."""
        for group in self._regroup.rest():
            self.write_group(group)
        with self._named():
            writer = self._writing(self._schema.to_arrow().empty_table())
            writer.add_key_value_metadata({CONTENT_DIGEST: self._sink.digest()})
            writer.close()
            self._sink.close()
        return data_file(self._storage, self.path)

    def _writing(self, first: pa.Table) -> pq.ParquetWriter:
        """The writer, which begins with the first row group, as its codecs depend on that."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._sink, mode="w"),
                self._schema.to_arrow(),
                compression=codecs(self._schema, first, self._compression),
                use_dictionary=[column.name for column in self._schema.columns if column.is_string],
                write_statistics=[column.name for column in self._schema.columns if not column.shape],
                write_page_checksum=True,
            )
        return self._writer

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"cannot write {self._storage.url_of(self.path)}: {error}") from error


class _Digesting:
    """A file for writing that computes the digest of what passes."""

    def __init__(self, target: pa.NativeFile) -> None:
        self._target = target
        self._hash = xxh3_128()
        self.closed = False

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        return self._target.write(content)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def flush(self) -> None:
        self._target.flush()

    def close(self) -> None:
        self.closed = True
        self._target.close()


def check_split(name: str) -> None:
    """
    Raises:
        DataError: a folder split=<name> would not be read as that split everywhere.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise DataError(f"a split cannot be called '{name}': use letters, digits, '_', '-' and '.'")
