"""Columns and schemas: what can be named and stored, and that it comes back from JSON and from Arrow."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echelon.data.schema import Column, Schema
from echelon.errors import DataError

NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)

fixed_shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)
shapes = st.one_of(fixed_shapes, fixed_shapes.map(lambda shape: (None, *shape)))
numbers = st.builds(Column, st.text(min_size=1).filter(lambda n: n != "split"), st.sampled_from(NUMBERS), shapes)
strings = st.builds(Column, st.text(min_size=1).filter(lambda n: n != "split"), st.just("string"))
schemas = st.lists(st.one_of(numbers, strings), min_size=1, max_size=5, unique_by=lambda c: c.name).map(Schema)


@given(schemas)
def test_a_schema_comes_back_from_json_and_from_arrow(schema: Schema) -> None:
    assert Schema.from_json(schema.to_json()) == schema
    arrow = schema.to_arrow()
    assert Schema.from_arrow(arrow) == schema
    assert Schema.from_arrow(pa.ipc.read_schema(arrow.serialize())) == schema
    assert not any(field.nullable for field in arrow)


def test_the_stored_layout_is_the_one_that_needs_least() -> None:
    def stored(dtype: str, shape: tuple = ()) -> pa.DataType:
        return Column("x", dtype, shape).arrow_type

    assert stored("uint8") == pa.uint8()
    assert stored("bool") == pa.bool_()
    assert stored("float16") == pa.float32()
    assert stored("string") == pa.string()
    assert stored("float32", (3, 4)) == pa.binary(48)
    assert stored("bool", (3,)) == pa.binary(3)
    assert stored("int16", (None, 3)) == pa.binary()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "int64"), "cannot be called ''"),
        (("split", "int64"), "cannot be called 'split'"),
        (("x", "complex64"), "dtype 'complex64'; possible are: bool, int8"),
        (("x", "datetime64[ns]"), "possible are"),
        (("x", "string", (3,)), r"holds strings, so its shape must be \(\)"),
        (("x", "int8", (3, 0)), "every axis must be at least 1"),
        (("x", "int8", (3, None)), "only the first may be None"),
        (("x", "int8", (-1,)), "every axis must be at least 1"),
        (("x", "int8", (2.5,)), "every axis must be at least 1"),
    ],
)
def test_columns_that_no_dataset_can_have_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Column(*arguments)


def test_schemas_that_no_dataset_can_have_are_refused() -> None:
    with pytest.raises(DataError, match="at least one column"):
        Schema(())
    with pytest.raises(DataError, match="occur twice in the schema: b"):
        Schema((Column("a", "int8"), Column("b", "int8"), Column("b", "string")))
    with pytest.raises(DataError, match="no column of a dataset"):
        Schema.from_json([{"name": "x"}])


def test_columns_are_selected_by_name() -> None:
    schema = Schema((Column("a", "int8"), Column("b", "string"), Column("c", "bool")))
    assert schema.select(["c", "a"]).names == ("c", "a")
    with pytest.raises(DataError, match="no column 'd' in this dataset; there are: a, b, c"):
        schema.select(["a", "d"])


def test_a_foreign_file_does_not_say_what_it_holds() -> None:
    with pytest.raises(DataError, match=r"no Echelon metadata\): \['y'\]"):
        Schema.from_arrow(pa.schema([Column("x", "int8").to_field(), pa.field("y", pa.int64())]))
