"""The row groups of one split: how many rows each has, and the decoded values of any one of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from echelon.data.cells import Decoded, decode
from echelon.data.manifest import Dataset
from echelon.data.parts import Part, open_part
from echelon.data.plan import Rows
from echelon.data.schema import Schema
from echelon.errors import DataError

_IDLE_PARTS = 32
_PIECE_BYTES = 4 << 20
_OBJECT_BYTES = 128
"""Roughly what CPython takes for one string beside its characters, and for a row's bounds."""


@dataclass(frozen=True)
class _Place:
    """Where a row group lies: which data file of the split, and which row group of that file."""

    file: int
    group: int


class RowGroups:
    """The row groups of a split, some of its columns.

    rows: rows of each row group, in the dataset's order (int64, [groups]).
    starts: number of the first row of each (int64, [groups]).
    Safe for several threads. Some data files stay open between calls.

    Raises:
        DataError: there is no such split or column.
    """

    def __init__(self, dataset: Dataset, split: str, columns: Iterable[str] | None = None) -> None:
        self.schema: Schema = dataset.schema if columns is None else dataset.schema.select(columns)
        self.fixed = tuple(c for c in self.schema.columns if not c.is_string and not c.is_variable)
        self.ragged = tuple(c for c in self.schema.columns if c.is_string or c.is_variable)
        self._dataset = dataset
        self._files = dataset.manifest.files(split)
        self._places = [_Place(f, g) for f, file in enumerate(self._files) for g in range(len(file.row_groups))]
        stored = [group for file in self._files for group in file.row_groups]
        self.rows: Rows = np.asarray([group.rows for group in stored], dtype=np.int64)
        self.starts: Rows = np.cumsum(self.rows, dtype=np.int64) - self.rows
        self._stored_bytes = np.asarray([group.bytes for group in stored], dtype=np.int64)
        self._verified = np.zeros(len(stored), dtype=bool)
        self._idle: list[tuple[tuple[int, bool], Part]] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the columns of fixed shape."""
        return sum(column.cell_bytes for column in self.fixed)

    @property
    def ragged_bytes(self) -> Rows:
        """Memory of the ragged columns of each decoded row group, rather too much than too little (int64, [groups])."""
        if not self.ragged:
            return np.zeros_like(self.rows)
        return self._stored_bytes * 5 // 4 + self.rows * _OBJECT_BYTES * len(self.ragged)

    @property
    def bytes(self) -> Rows:
        """Memory of each row group when it is decoded (int64, [groups])."""
        return self.rows * self.row_bytes + self.ragged_bytes

    def of(self, rows: Rows) -> Rows:
        """The row group of each row (int64, like `rows`)."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def url(self, group: int) -> str:
        """The data file in which a row group lies."""
        return self._dataset.data.url_of(self._files[self._places[group].file].path)

    def decode(self, group: int) -> dict[str, Decoded]:
        """The values of a row group, as `cells.decode` gives them.

        Page checksums are verified the first time only: they guard the file, and checking costs as much as reading.

        Raises:
            DataError: the file is missing, damaged, or not the one that the manifest means. StorageError: it cannot
                be read at present.
        """
        place, verify = self._places[group], not self._verified[group]
        with self._part(place.file, verify) as part:
            table = part.read([place.group], self.schema.names)
        self._check(group, len(table))
        values = decode(self.schema, table)
        self._verified[group] = True
        return values

    def pieces(self, group: int) -> Iterator[tuple[int, dict[str, Decoded]]]:
        """The same bit by bit, each time with the number of its first row in the row group; again from 0 after a fault.

        Memory for a large row group as a whole would be taken from the system each time, which costs more than decoding
        it. Columns of variable length come as a whole.

        Raises:
            DataError, StorageError: as `decode`.
        """
        place, verify, rows = self._places[group], not self._verified[group], _PIECE_BYTES // max(self.row_bytes, 1)
        if self.ragged or rows >= self.rows[group]:
            yield 0, self.decode(group)
            return
        at = 0
        try:
            with self._part(place.file, verify) as part:
                for batch in part.pieces(place.group, self.schema.names, max(rows, 1)):
                    if at + len(batch) <= self.rows[group]:
                        yield at, decode(self.schema, batch)
                    at += len(batch)
            self._check(group, at)
        except MemoryError:
            raise
        except (OSError, pa.ArrowException, DataError):
            # Which tells a storage that fails from data that are damaged, with the numbers of the whole.
            yield 0, self.decode(group)
        self._verified[group] = True

    def _check(self, group: int, found: int) -> None:
        """
        Raises:
            DataError: a row group has another number of rows than its file says.
        """
        if found != self.rows[group]:
            place = self._places[group].group
            raise DataError(
                f"{self.url(group)} is damaged in row groups [{place}]: {found:,} rows can be read of "
                f"{self.rows[group]:,}. Write it again"
            )

    @contextmanager
    def _part(self, file: int, verify: bool) -> Iterator[Part]:
        """An open data file that no other thread uses meanwhile."""
        with self._lock:
            at = next((i for i, idle in enumerate(self._idle) if idle[0] == (file, verify)), None)
            part = None if at is None else self._idle.pop(at)[1]
        if part is None:
            part = open_part(self._dataset, self._files[file], verify)
        try:
            yield part
        except BaseException:
            part.close()
            raise
        with self._lock:
            self._idle.append(((file, verify), part))
            oldest = self._idle.pop(0)[1] if len(self._idle) > _IDLE_PARTS else None
        if oldest is not None:
            oldest.close()
