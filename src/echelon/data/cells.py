"""Values ⇄ Arrow cells, as the schema says; nothing is lost on the way without an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TypeGuard

import numpy as np
import pyarrow as pa
from torch import Tensor

from echelon.data.schema import Column, Schema, Values
from echelon.errors import DataError

Decoded = np.ndarray | list[np.ndarray] | list[str]

_MAX_OFFSET = 2**31 - 1


def encode(schema: Schema, rows: Mapping[str, Values], *, given_away: bool = False) -> pa.RecordBatch:
    """Some rows as an Arrow record batch that owns its memory.

    rows: for every column of the schema its values, batched: [n, *shape] (array, tensor, nested sequence), or n arrays
        [length, *inner] where the first axis varies, or n strings (also as an Arrow array). Numbers may have another
        type as long as no value changes, and floats another precision; what overflows is an error.
    given_away: nobody will change the values any more, so that arrays which fit as they are need not be copied.

    Raises:
        DataError: a column is missing or unknown, has another length, shape or type, or a value that does not fit.
    """
    missing, unknown = set(schema.names) - set(rows), set(rows) - set(schema.names)
    if missing or unknown:
        raise DataError(
            f"the rows must have exactly the columns {', '.join(schema.names)}; "
            f"missing: {sorted(missing) or 'none'}, unknown: {sorted(unknown) or 'none'}"
        )
    arrays = [_encode_column(column, rows[column.name], given_away) for column in schema.columns]
    lengths = dict(zip(schema.names, map(len, arrays), strict=True))
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns of one batch have different numbers of rows: {lengths}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema.to_arrow())


def decode(schema: Schema, batch: pa.RecordBatch | pa.Table) -> dict[str, Decoded]:
    """The values of the schema's columns in a record batch or table; other columns are left alone.

    Fixed shape: one array [n, *shape], read-only and over Arrow's own memory where the layout allows it (binary cells,
    lists and numbers in one chunk). Variable first axis: n such arrays [length, *inner]. Strings: a list.
    Binary cells of any Arrow kind and numeric lists are understood.

    Raises:
        DataError: a column is missing, has nulls, or cells of another size or type than the schema says.
    """
    absent = [name for name in schema.names if name not in batch.schema.names]
    if absent:
        raise DataError(f"the columns {absent} are missing; there are: {', '.join(batch.schema.names)}")
    return {column.name: _decode_column(column, batch.column(column.name)) for column in schema.columns}


def conform(schema: Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The schema's columns of a batch in the layout in which they are stored; lists become cells here, once."""
    target = schema.to_arrow()
    if batch.schema.equals(target, check_metadata=False):
        return batch.replace_schema_metadata(None).cast(target)
    return encode(schema, decode(schema, batch))


def _encode_column(column: Column, values: Values, given_away: bool) -> pa.Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if column.is_string:
        return _encode_strings(column, values)
    if column.is_variable:
        return _encode_variable(column, values)
    array = values if given_away and _fits(column, values) else as_numbers(column, values)
    if array.shape == (0,):
        array = array.reshape(0, *column.inner)
    if array.ndim == 0 or array.shape[1:] != column.inner:
        raise DataError(f"column '{column.name}' must be [rows, *{column.inner}], got the shape {array.shape}")
    if not column.shape:
        return pa.array(array, type=column.arrow_type)
    return pa.FixedSizeBinaryArray.from_buffers(column.arrow_type, len(array), [None, pa.py_buffer(array)])


def _fits(column: Column, values: Values) -> TypeGuard[np.ndarray]:
    """Whether values lie in memory as they are stored."""
    return isinstance(values, np.ndarray) and values.dtype == column.numpy_dtype and values.flags.c_contiguous


def _encode_strings(column: Column, values: Values) -> pa.Array:
    if isinstance(values, pa.Array) and _is_text(values.type) and not values.null_count:
        return values.cast(pa.string())
    texts = values.tolist() if isinstance(values, np.ndarray) else list(values)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise DataError(f"column '{column.name}' must hold strings; row {wrong} of the batch is {texts[wrong]!r}")
    return pa.array(texts, type=pa.string())


def _encode_variable(column: Column, values: Values) -> pa.Array:
    rows = [_variable_row(column, row, i) for i, row in enumerate(values)]
    ends = np.cumsum([0, *(row.nbytes for row in rows)], dtype=np.int64)
    if ends[-1] > _MAX_OFFSET:
        raise DataError(f"column '{column.name}' has {ends[-1]} bytes in one batch: write batches below 2 GiB")
    # The one copy of rows that have the column's type already, and of those that lie apart in memory.
    data = np.concatenate(rows) if rows else np.empty(0, column.numpy_dtype)
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(rows), buffers)


def _variable_row(column: Column, row: Values, index: int) -> np.ndarray:
    given = row.detach().cpu().numpy() if isinstance(row, Tensor) else row
    fits = isinstance(given, np.ndarray) and given.dtype == column.numpy_dtype
    array = given if fits else as_numbers(column, given)
    if not array.size and array.ndim == 1:
        return array.reshape(0, *column.inner)
    if array.ndim == 0 or array.shape[1:] != column.inner:
        raise DataError(
            f"column '{column.name}' must have rows [any length, *{column.inner}]; "
            f"row {index} of the batch has the shape {array.shape}"
        )
    return array


def as_numbers(column: Column, values: Values) -> np.ndarray:
    """A contiguous copy in the column's type. A copy, because who writes may use its own array again for the next rows.

    Raises:
        DataError: the type does not fit, or a value would change.
    """
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise DataError(f"column '{column.name}': its rows have different shapes ({error})") from None
    target = column.numpy_dtype
    if given.dtype == target or not given.size:
        return np.array(given, dtype=target, order="C")
    if given.dtype.kind not in "biuf" or (given.dtype.kind == "f" and target.kind != "f"):
        raise DataError(f"column '{column.name}' holds {column.dtype}, got {given.dtype}: convert the values first")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.array(given, dtype=target, order="C")
    changed = np.isinf(array) & ~np.isinf(given) if given.dtype.kind == "f" else array != given
    if changed.any():
        raise DataError(f"column '{column.name}' holds {column.dtype}; the value {given[changed].flat[0]} does not fit")
    return array


def _decode_column(column: Column, data: pa.Array | pa.ChunkedArray) -> Decoded:
    if data.null_count:
        raise DataError(
            f"column '{column.name}' has {data.null_count} nulls in {len(data)} rows: fill them or leave those rows out"
        )
    if column.is_string:
        if not _is_text(data.type):
            raise DataError(f"column '{column.name}' should hold strings, but the file has {data.type}")
        return data.to_pylist()
    chunks = data.chunks if isinstance(data, pa.ChunkedArray) else [data]
    if column.is_variable:
        return [row for chunk in chunks for row in _split_rows(column, chunk)]
    parts = [_decode_fixed(column, chunk) for chunk in chunks]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((0, *column.inner), column.numpy_dtype), *parts])


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _decode_fixed(column: Column, chunk: pa.Array) -> np.ndarray:
    """[n, *shape] of one chunk."""
    if not column.shape:
        return _numbers(column, chunk)
    values, ends = _flat(column, chunk)
    size = math.prod(column.inner)
    lengths = np.diff(ends)
    if (lengths != size).any():
        row = int(np.argmax(lengths != size))
        raise DataError(
            f"column '{column.name}' should hold {column.dtype} {list(column.inner)}, {size} values a row; "
            f"row {row} of {len(chunk)} has {lengths[row]}"
        )
    return values.reshape(len(chunk), *column.inner)


def _split_rows(column: Column, chunk: pa.Array) -> list[np.ndarray]:
    """The n arrays [length, *inner] of one chunk."""
    values, ends = _flat(column, chunk)
    size = math.prod(column.inner)
    if (ends % size).any():
        row = int(np.argmax(ends % size != 0)) - 1
        raise DataError(
            f"column '{column.name}' should hold {column.dtype} [length, *{column.inner}]; "
            f"row {row} of {len(chunk)} has {ends[row + 1] - ends[row]} values, no multiple of {size}"
        )
    table = values.reshape(-1, *column.inner)
    bounds = (ends // size).tolist()
    return [table[start:end] for start, end in pairwise(bounds)]


def _flat(column: Column, chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All values of the chunk's rows, one after another, and where each row begins and ends in them [n + 1]."""
    kind = chunk.type
    if pa.types.is_fixed_size_binary(kind):
        ends = np.arange(len(chunk) + 1, dtype=np.int64) * kind.byte_width
        return _cells(column, chunk, ends, chunk.offset * kind.byte_width)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        width = np.dtype(np.int64 if pa.types.is_large_binary(kind) else np.int32)
        offsets = _view(chunk.buffers()[1], width, len(chunk) + 1, chunk.offset * width.itemsize).astype(np.int64)
        return _cells(column, chunk, offsets - offsets[0], int(offsets[0]))
    if pa.types.is_fixed_size_list(kind):
        return _numbers(column, chunk.flatten()), np.arange(len(chunk) + 1, dtype=np.int64) * kind.list_size
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = np.asarray(chunk.value_lengths(), dtype=np.int64)
        return _numbers(column, chunk.flatten()), np.concatenate([[0], np.cumsum(lengths)])
    raise DataError(f"column '{column.name}' should hold tensors in binary cells or numeric lists, not {kind}")


def _cells(column: Column, chunk: pa.Array, ends: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Binary cells that lie one after another from byte `start`; `ends` counts bytes from there."""
    itemsize = column.numpy_dtype.itemsize
    if (ends % itemsize).any():
        row = int(np.argmax(ends % itemsize != 0)) - 1
        raise DataError(
            f"column '{column.name}' should hold {column.dtype} of {itemsize} bytes; "
            f"the cell of row {row} of {len(chunk)} has {ends[row + 1] - ends[row]} bytes"
        )
    return _view(chunk.buffers()[-1], column.numpy_dtype, int(ends[-1]) // itemsize, start), ends // itemsize


def _view(buffer: pa.Buffer | None, dtype: np.dtype, count: int, start: int) -> np.ndarray:
    """`count` values from byte `start` of a buffer, without a copy unless they lie askew."""
    if buffer is None or not count:
        return np.zeros(count, dtype)
    values = np.frombuffer(buffer, dtype, count, start)
    values.flags.writeable = False
    return values if values.flags.aligned else values.copy()


def _numbers(column: Column, array: pa.Array) -> np.ndarray:
    """A chunk of Arrow numbers in the column's type."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)):
        raise DataError(f"column '{column.name}' should hold {column.dtype}, but the file has {array.type}")
    if array.null_count:
        raise DataError(f"column '{column.name}' has {array.null_count} nulls within its lists: fill them first")
    values = array.to_numpy(zero_copy_only=False)
    return values if values.dtype == column.numpy_dtype else as_numbers(column, values)
