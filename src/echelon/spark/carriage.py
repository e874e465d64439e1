"""How rows travel through Spark's shuffle: which part they belong to, their order in it, and their cells.

Spark knows neither unsigned numbers nor binary of fixed size, so cells travel as the nearest type that loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echelon.data.schema import Column, Schema

ORDER = ("part", "split", "key", "item", "row")
"""What rows are sorted by within a task; the last two only tell equal keys apart."""
PLACE = "place"
"""What Spark hashes to find the task of a row."""

_META = pa.schema(
    [("part", pa.int32()), ("split", pa.string()), ("key", pa.int64()), ("item", pa.int32()), ("row", pa.int64()),
     (PLACE, pa.int32())]
)  # fmt: skip
_META_DDL = "part int, split string, key bigint, item int, row bigint, place int"
# By numpy name: (Arrow type on the way, Spark's name of it).
_NUMBERS: dict[str, tuple[pa.DataType, str]] = {
    "bool": (pa.bool_(), "boolean"),
    "int8": (pa.int8(), "tinyint"),
    "int16": (pa.int16(), "smallint"),
    "int32": (pa.int32(), "int"),
    "int64": (pa.int64(), "bigint"),
    "uint8": (pa.int16(), "smallint"),
    "uint16": (pa.int32(), "int"),
    "uint32": (pa.int64(), "bigint"),
    "uint64": (pa.int64(), "bigint"),
    "float16": (pa.float32(), "float"),
    "float32": (pa.float32(), "float"),
    "float64": (pa.float64(), "double"),
}


@dataclass(frozen=True)
class Run:
    """Rows of one split that follow each other in one part, in the layout in which they are stored.

    origins: of the rows the numbers of their items, and theirs within these; int64 [rows] both. Empty where unknown.
    """

    part: int
    split: str
    rows: pa.RecordBatch
    origins: tuple[NDArray[np.int64], ...] = ()


class Carriage:
    """Packs rows for the shuffle and unpacks them again. Columns are numbered on the way: any name may be a user's."""

    def __init__(self, schema: Schema, parts: int) -> None:
        self.schema = schema
        self.parts = parts
        self._places = place_keys(parts)

    @property
    def ddl(self) -> str:
        """Spark's schema of packed rows."""
        cells = ", ".join(f"c{i} {_way(column)[1]}" for i, column in enumerate(self.schema.columns))
        return f"{_META_DDL}, {cells}"

    def pack(
        self,
        rows: pa.RecordBatch,
        splits: str | Sequence[str],
        parts: NDArray[np.int64],
        keys: NDArray[np.int64],
        item: int,
        first_row: int,
    ) -> pa.RecordBatch:
        """Rows in the stored layout, with the part and the place in it of each.

        splits: of all of them, or of each. parts, keys: int64 [rows]. item, first_row: where they come from.
        """
        count = len(rows)
        meta = [
            pa.array(parts, pa.int32()),
            pa.array([splits] * count if isinstance(splits, str) else splits, pa.string()),
            pa.array(keys, pa.int64()),
            pa.array(np.full(count, item), pa.int32()),
            pa.array(np.arange(first_row, first_row + count), pa.int64()),
            pa.array(self._places[parts], pa.int32()),
        ]
        cells = [_leave(column, rows.column(column.name)) for column in self.schema.columns]
        names = [f"c{i}" for i in range(len(cells))]
        return pa.RecordBatch.from_arrays([*meta, *cells], names=[*_META.names, *names])

    def unpack(self, batch: pa.RecordBatch) -> Iterator[Run]:
        """The rows of a packed batch that came back sorted by `ORDER`."""
        cells = [_arrive(column, batch.column(f"c{index}")) for index, column in enumerate(self.schema.columns)]
        rows = pa.RecordBatch.from_arrays(cells, schema=self.schema.to_arrow())
        origins = tuple(batch.column(name).to_numpy().astype(np.int64) for name in ("item", "row"))
        return runs_of(batch.column("part"), batch.column("split"), rows, origins)


def runs_of(
    parts: pa.Array, splits: pa.Array, rows: pa.RecordBatch, origins: tuple[NDArray[np.int64], ...] = ()
) -> Iterator[Run]:
    """Rows that came sorted by their parts and splits, cut where either changes.

    parts, splits: int32 and strings, of each row. origins: see `Run`.
    """
    if not len(rows):
        return
    numbers, encoded = parts.to_numpy(), splits.dictionary_encode()
    codes = encoded.indices.to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) | np.diff(codes, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        split = encoded.dictionary[int(codes[start])].as_py()
        of_run = tuple(origin[start:end] for origin in origins)
        yield Run(int(numbers[start]), split, rows.slice(int(start), int(end) - int(start)), of_run)


def place_keys(parts: int) -> NDArray[np.int32]:
    """For each of `parts` tasks the smallest number that Spark sends to it when it partitions by that number.

    With them each task gets exactly one part; with the parts' own numbers, a third of the tasks would get none.
    """
    keys = np.full(parts, -1, dtype=np.int64)
    first, step = 0, max(4 * parts, 64)
    while (keys < 0).any():
        candidates = np.arange(first, first + step)
        homes, at = np.unique(_spark_hash(candidates).astype(np.int64) % parts, return_index=True)
        keys[homes] = np.where(keys[homes] < 0, candidates[at], keys[homes])
        first += step
    return keys.astype(np.int32)


def _spark_hash(numbers: NDArray[np.int64]) -> NDArray[np.int32]:
    """Spark's hash of 32-bit integers: Murmur3 (x86, 32 bits) with the seed 42."""
    with np.errstate(over="ignore"):
        k = _turned(numbers.astype(np.uint32) * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        h = _turned(np.uint32(42) ^ k, 13) * np.uint32(5) + np.uint32(0xE6546B64)
        h ^= np.uint32(4)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return (h ^ (h >> np.uint32(16))).view(np.int32)


def _turned(numbers: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (numbers << np.uint32(bits)) | (numbers >> np.uint32(32 - bits))


def _way(column: Column) -> tuple[pa.DataType, str]:
    if column.is_string:
        return pa.string(), "string"
    return (pa.binary(), "binary") if column.shape else _NUMBERS[column.dtype]


def _leave(column: Column, array: pa.Array) -> pa.Array:
    if array.type == pa.uint64():
        return array.view(pa.int64())
    return array.cast(_way(column)[0])


def _arrive(column: Column, array: pa.Array) -> pa.Array:
    target = column.arrow_type
    if target == pa.uint64():
        return array.view(pa.uint64())
    if pa.types.is_fixed_size_binary(target):
        start, values = array.offset, array.buffers()[2]
        bounds = np.frombuffer(array.buffers()[1], np.int32, count=len(array) + 1, offset=4 * start)
        if not (np.diff(bounds) == target.byte_width).all():
            raise ValueError(f"column '{column.name}' came back with cells that are not {target.byte_width} bytes long")
        return pa.FixedSizeBinaryArray.from_buffers(target, len(array), [None, values.slice(int(bounds[0]))])
    return array.cast(target)
