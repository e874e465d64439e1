"""What the columns of a dataset hold, and how values become Arrow cells and values again.

A number is a native Arrow number. A tensor is one binary cell a row, little endian in C order, and not a list: reading
binary cells is several times faster and needs no copy. A tensor of fixed shape is a fixed-size binary, the only layout
without offsets; where the first axis varies from row to row, it is a plain binary. Data type and shape stand in the
manifest and in the Arrow field (key b"echelon"), so that one file alone says what its bytes mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from echelon.errors import DataError

Values = Sequence[Any] | np.ndarray | Tensor | pa.Array

STRING = "string"
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", STRING),
)
_FIELD_KEY = b"echelon"


@dataclass(frozen=True)
class Column:
    """One column.

    dtype: the name of a numpy number type or of bool, or "string" (one text a row).
    shape: of one row's tensor; () for one number or text. None as the first axis: its length varies from row to row.

    Raises:
        DataError: a name, dtype or shape that no dataset can have.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if not self.name or self.name == "split":
            raise DataError(f"a column cannot be called '{self.name}': choose another name ('split' names the folders)")
        if self.dtype not in _DTYPES:
            raise DataError(f"column '{self.name}' has the dtype '{self.dtype}'; possible are: {', '.join(_DTYPES)}")
        if self.dtype == STRING and self.shape:
            raise DataError(f"column '{self.name}' holds strings, so its shape must be (), not {self.shape}")
        fixed = self.shape[1:] if self.is_variable else self.shape
        if not all(isinstance(n, int) and n > 0 for n in fixed):
            raise DataError(
                f"column '{self.name}' has the shape {self.shape}: every axis must be at least 1; "
                "only the first may be None (its length varies from row to row)"
            )

    @property
    def is_string(self) -> bool:
        return self.dtype == STRING

    @property
    def is_variable(self) -> bool:
        """Whether the first axis varies from row to row."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def inner(self) -> tuple[int, ...]:
        """The axes of one row that never vary."""
        return tuple(n for n in self.shape if n is not None)

    @property
    def numpy_dtype(self) -> np.dtype:
        """Little endian, as in the cells. Not for strings."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def cell_bytes(self) -> int:
        """Bytes of one row's tensor, or of one entry along the first axis where that varies. Not for strings."""
        return self.numpy_dtype.itemsize * math.prod(self.inner)

    @property
    def arrow_type(self) -> pa.DataType:
        """How the column is stored. A single float16 is stored as float32, which loses nothing: Spark has no halves."""
        if self.is_string:
            return pa.string()
        if self.is_variable:
            return pa.binary()
        if self.shape:
            return pa.binary(self.cell_bytes)
        return pa.from_numpy_dtype(np.dtype("float32" if self.dtype == "float16" else self.dtype))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Column:
        """
        Raises:
            DataError: this is no column of a dataset.
        """
        try:
            return cls(value["name"], value["dtype"], tuple(value["shape"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"this is no column of a dataset ({error!r}): {value!r}") from None

    def to_field(self) -> pa.Field:
        """The field of the data files. It says what the cells hold."""
        return pa.field(self.name, self.arrow_type, nullable=False, metadata={_FIELD_KEY: json.dumps(self.to_json())})

    @classmethod
    def from_field(cls, field: pa.Field) -> Column | None:
        """The column that `to_field` wrote, None where the field does not say what it holds."""
        said = (field.metadata or {}).get(_FIELD_KEY)
        return None if said is None else cls.from_json(json.loads(said))


@dataclass(frozen=True)
class Schema:
    """The columns of a dataset, in order.

    Raises:
        DataError: there is no column, or a name occurs twice.
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns:
            raise DataError("a dataset needs at least one column")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DataError(f"these columns occur twice in the schema: {', '.join(twice)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> Column:
        """The column of a name.

        Raises:
            DataError: there is none; the message names those that there are.
        """
        if name not in self._by_name:
            raise DataError(f"no column '{name}' in this dataset; there are: {', '.join(self.names)}")
        return self._by_name[name]

    def select(self, names: Iterable[str]) -> Schema:
        """These columns alone, in this order."""
        return Schema(tuple(self.column(name) for name in names))

    def to_arrow(self) -> pa.Schema:
        """The Arrow schema of the data files. Nothing may be null."""
        return pa.schema(column.to_field() for column in self.columns)

    @classmethod
    def from_arrow(cls, schema: pa.Schema) -> Schema:
        """The schema that `to_arrow` wrote into a file.

        Raises:
            DataError: a field does not say what it holds.
        """
        columns = [Column.from_field(field) for field in schema]
        silent = [field.name for field, column in zip(schema, columns, strict=True) if column is None]
        if silent:
            raise DataError(f"these columns do not say which tensors they hold (no Echelon metadata): {silent}")
        return cls(tuple(column for column in columns if column is not None))

    def to_json(self) -> list[dict[str, Any]]:
        return [column.to_json() for column in self.columns]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> Schema:
        """
        Raises:
            DataError: this is no schema of a dataset.
        """
        return cls(tuple(map(Column.from_json, value)))
