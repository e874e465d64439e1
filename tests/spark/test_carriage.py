"""Rows that travel through Spark's shuffle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from echelon.data.cells import decode, encode
from echelon.data.schema import Column, Schema
from echelon.spark.carriage import Carriage, _spark_hash, place_keys

EVERY_TYPE = Schema(
    (
        *(Column(f"n_{t}", t) for t in ("bool", "int8", "int64", "uint8", "uint16", "uint32", "uint64", "float16")),
        Column("text", "string"),
        Column("image", "uint8", (3, 2, 2)),
        Column("wave", "float16", (None, 2)),
        Column("half", "float64", (2,)),
    )
)


def rows(count: int) -> dict[str, object]:
    random = np.random.default_rng(count)
    made: dict[str, object] = {}
    for column in EVERY_TYPE.columns:
        shape = (count, *column.inner)
        if column.is_string:
            made[column.name] = [f"row {i} ✓" for i in range(count)]
        elif column.is_variable:
            made[column.name] = [random.normal(size=(i % 3, 2)).astype(np.float16) for i in range(count)]
        elif column.dtype == "bool":
            made[column.name] = random.integers(0, 2, shape).astype(bool)
        elif column.numpy_dtype.kind == "f":
            made[column.name] = random.normal(size=shape).astype(column.dtype)
        else:
            info = np.iinfo(column.dtype)
            made[column.name] = random.integers(info.min, info.max, shape, dtype=column.dtype, endpoint=True)
    return made


def test_all_types_come_back_as_they_left() -> None:
    stored = encode(EVERY_TYPE, rows(7))
    carriage = Carriage(EVERY_TYPE, 3)
    parts = np.array([0, 0, 1, 1, 1, 2, 2])
    splits = ["a", "a", "a", "b", "b", "b", "b"]
    packed = carriage.pack(stored, splits, parts, np.arange(7), item=4, first_row=10)
    # As Spark sends them back: somewhere within a longer buffer.
    runs = list(carriage.unpack(pa.concat_batches([packed, packed]).slice(7)))
    assert [(run.part, run.split, len(run.rows)) for run in runs] == [
        (0, "a", 2), (1, "a", 1), (1, "b", 2), (2, "b", 2)
    ]  # fmt: skip
    again = pa.concat_batches([run.rows for run in runs])
    assert again.schema.equals(stored.schema)
    for name, values in decode(EVERY_TYPE, stored).items():
        other = decode(EVERY_TYPE, again)[name]
        if isinstance(values, list):
            assert all(np.array_equal(a, b) for a, b in zip(values, other, strict=True))
        else:
            assert np.array_equal(values, other)


@pytest.mark.parametrize("parts", [1, 2, 7, 64, 1000])
def test_each_task_has_a_key_of_its_own(parts: int) -> None:
    homes = _spark_hash(place_keys(parts).astype(np.int64)).astype(np.int64) % parts
    assert homes.tolist() == list(range(parts))


def test_the_hash_is_sparks() -> None:
    # From Spark: SELECT pmod(hash(CAST(id AS INT)), 8) FROM range(20).
    assert (_spark_hash(np.arange(20)).astype(np.int64) % 8).tolist() == [
        7, 3, 6, 3, 6, 2, 1, 3, 7, 1, 2, 3, 0, 0, 0, 5, 1, 1, 0, 5
    ]  # fmt: skip
