"""Which columns of a data file are compressed: those that become so much smaller that reading them gains by it."""

from __future__ import annotations

import pyarrow as pa

from echelon.data.schema import Schema
from echelon.errors import DataError

NONE = "none"
WORTH = 0.8
"""Pixels of photographs and quantised features shrink to some 85 to 95 %: every epoch would unpack them for nothing."""
_SAMPLE_BYTES = 1 << 20


def check_compression(name: str) -> None:
    """
    Raises:
        DataError: there is no such codec.
    """
    known = (NONE, "zstd", "snappy", "lz4", "gzip", "brotli")
    if name not in known or (name != NONE and not pa.Codec.is_available(name)):
        raise DataError(f"unknown compression '{name}': use one of {', '.join(known)}")


def codecs(schema: Schema, first: pa.Table, name: str) -> dict[str, str]:
    """The codec of each column of a file: the named one, or "none" for cells of tensors that it hardly makes smaller.

    first: the first rows of the file in the stored layout, of one chunk a column; the beginning of their cells tells.
    """
    cells = {column.name for column in schema.columns if column.shape}
    return {
        column: NONE if column in cells and not _pays(first.column(column), name) else name
        for column in first.column_names
    }


def _pays(column: pa.ChunkedArray, name: str) -> bool:
    if name == NONE or not column.num_chunks:
        return name != NONE
    *_, values = column.chunk(0).buffers()
    sample = values.slice(0, min(values.size, _SAMPLE_BYTES))
    return not sample.size or pa.Codec(name).compress(sample).size <= WORTH * sample.size
