"""Values → cells → values: nothing changes on the way, and what would is an error that names the column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_schema import NUMBERS, schemas

from echelon.data.cells import conform, decode, encode
from echelon.data.schema import Column, Schema
from echelon.errors import DataError


def random_values(column: Column, rows: int, rng: np.random.Generator) -> Any:
    """Any bits that the type has, NaN and infinities included."""
    if column.is_string:
        return ["".join(map(chr, rng.integers(32, 0x2FFF, rng.integers(0, 9)))) for _ in range(rows)]

    def tensor(*shape: int) -> np.ndarray:
        if column.dtype == "bool":
            return rng.random(shape) < 0.5
        bits = rng.integers(0, 256, (*shape, np.dtype(column.dtype).itemsize), dtype=np.uint8)
        return bits.view(column.dtype).reshape(shape)

    if column.is_variable:
        return [tensor(int(rng.integers(0, 4)), *column.inner) for _ in range(rows)]
    return tensor(rows, *column.inner)


def assert_same(column: Column, found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    if column.is_string:
        assert found == expected
        return
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == column.numpy_dtype
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(schemas, st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_values_come_back(schema: Schema, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {column.name: random_values(column, rows, rng) for column in schema.columns}
    batch = encode(schema, values)
    batch.validate(full=True)
    assert batch.schema.equals(schema.to_arrow(), check_metadata=True)
    first = int(rng.integers(0, rows + 1))
    halves = pa.Table.from_batches([batch.slice(0, first), batch.slice(first)])
    for column in schema.columns:
        expected = values[column.name]
        assert_same(column, decode(schema, batch)[column.name], expected)
        assert_same(column, decode(schema, halves)[column.name], expected)
        assert_same(column, decode(schema, batch.slice(first))[column.name], expected[first:])


@pytest.mark.parametrize("dtype", NUMBERS)
def test_lists_and_large_cells_mean_the_same_as_our_own(dtype: str) -> None:
    rng = np.random.default_rng(0)
    fixed, ragged = Column("fixed", dtype, (2, 3)), Column("ragged", dtype, (None, 2))
    schema = Schema((fixed, ragged))
    values = {column.name: random_values(column, 20, rng) for column in schema.columns}
    values = {name: [np.nan_to_num(row) if row.dtype.kind == "f" else row for row in v] for name, v in values.items()}
    arrow = pa.from_numpy_dtype(np.dtype(dtype))
    for outer in (pa.list_(arrow), pa.large_list(arrow), pa.binary(), pa.large_binary()):
        is_list = pa.types.is_list(outer) or pa.types.is_large_list(outer)
        cells = {n: [row.ravel() if is_list else row.tobytes() for row in v] for n, v in values.items()}
        batch = pa.record_batch({name: pa.array(rows, outer) for name, rows in cells.items()})
        found = decode(schema, batch.slice(3))
        for column in schema.columns:
            assert_same(column, found[column.name], values[column.name][3:])
        assert conform(schema, batch).equals(encode(schema, values))


def test_tensors_nested_lists_and_other_precisions_are_taken() -> None:
    schema = Schema((Column("x", "float32", (2,)), Column("y", "int64")))
    expected = encode(schema, {"x": np.array([[1, 2], [3, 4]], np.float32), "y": np.array([5, 6])})
    for x, y in (
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad_(), torch.tensor([5, 6])),
        ([[1, 2], [3, 4]], [5, 6]),
        (np.array([[1, 2], [3, 4]], ">f8"), np.array([5, 6], np.uint8)),
        (np.asfortranarray(np.array([[1, 2], [3, 4]], np.float16)), (5, 6)),
    ):
        assert encode(schema, {"x": x, "y": y}).equals(expected)


def test_a_batch_owns_its_memory() -> None:
    schema = Schema((Column("x", "float32", (2,)), Column("v", "uint8", (None,)), Column("n", "int64")))
    x, v, n = np.ones((3, 2), np.float32), np.ones(4, np.uint8), np.arange(3)
    batch = encode(schema, {"x": x, "v": [v, v, v], "n": n})
    for array in (x, v, n):
        array.fill(0)
    found = decode(schema, batch)
    assert found["x"].sum() == 6
    assert sum(row.sum() for row in found["v"]) == 12
    assert found["n"].tolist() == [0, 1, 2]


@settings(deadline=None)
@given(schemas, st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_values_that_are_given_away_become_the_same_cells(schema: Schema, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {column.name: random_values(column, rows, rng) for column in schema.columns}
    assert encode(schema, values, given_away=True).equals(encode(schema, values))


def test_values_that_are_given_away_are_copied_only_where_they_lie_otherwise() -> None:
    schema = Schema((Column("x", "uint8", (3, 4)),))
    x = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    for given_, shared in ((x, True), (x[:2], True), (x[::2], False), (x.astype(np.int64), False), (x[:0], False)):
        found = decode(schema, encode(schema, {"x": given_}, given_away=True))["x"]
        assert np.shares_memory(found, given_) == shared
        np.testing.assert_array_equal(found, given_)


def test_decoding_a_fixed_shape_copies_nothing() -> None:
    schema = Schema((Column("x", "float32", (1000,)), Column("y", "int64")))
    batch = encode(schema, {"x": np.zeros((50, 1000)), "y": np.zeros(50, int)})
    before = pa.total_allocated_bytes()
    found = decode(schema, batch)
    assert pa.total_allocated_bytes() == before
    assert not found["x"].flags.owndata
    assert not found["x"].flags.writeable
    assert not found["y"].flags.owndata


X = Column("x", "int16", (2,))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (X, np.zeros((3, 3), np.int16), r"column 'x' must be \[rows, \*\(2,\)\], got the shape \(3, 3\)"),
        (X, np.zeros((3, 2), np.float32), "holds int16, got float32: convert the values first"),
        (X, np.array([[1, 40_000]]), "the value 40000 does not fit"),
        (X, [[1, 2], [3]], "its rows have different shapes"),
        (X, [["a", "b"]], "holds int16, got <U1"),
        (X, np.int16(3), "got the shape"),
        (Column("x", "uint8"), [-1], "the value -1 does not fit"),
        (Column("x", "float32"), [1e300], r"the value 1e\+300 does not fit"),
        (
            Column("x", "int64", (None, 2)),
            [np.zeros((1, 2), int), np.zeros(2, int)],
            "row 1 of the batch has the shape",
        ),
        (Column("x", "string"), ["a", None], "row 1 of the batch is None"),
        (Column("x", "string"), [b"a"], "row 0 of the batch is b'a'"),
    ],
)
def test_what_would_change_is_refused(column: Column, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode(Schema((column,)), {"x": values})


@pytest.mark.parametrize(
    ("column", "array", "message"),
    [
        (X, pa.array([b"1234", b"123"]), "cell of row 1 of 2 has 3 bytes"),
        (X, pa.array([b"1234", b"12"]), r"should hold int16 \[2\], 2 values a row; row 1 of 2 has 1"),
        (X, pa.array([[1, 2], [1, 2, 3]]), "row 1 of 2 has 3"),
        (X, pa.array([[1, 2], None]), "has 1 nulls in 2 rows: fill them or leave those rows out"),
        (X, pa.array([[1, None]]), "1 nulls within its lists"),
        (X, pa.array(["ab"]), "binary cells or numeric lists, not string"),
        (Column("x", "int64", (None, 2)), pa.array([[1, 2], [1, 2, 3]]), "no multiple of 2"),
        (Column("x", "string"), pa.array([1]), "should hold strings, but the file has int64"),
        (Column("x", "int64"), pa.array(["1"]), "should hold int64, but the file has string"),
        (Column("y", "int64"), pa.array([1]), r"the columns \['y'\] are missing; there are: x"),
    ],
)
def test_cells_that_are_not_what_the_schema_says_are_refused(column: Column, array: pa.Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(Schema((column,)), pa.record_batch({"x": array}))
