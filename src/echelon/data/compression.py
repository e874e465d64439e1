"""Which columns of a data file are compressed: those that become so much smaller that reading them gains by it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


def _pays(cells: pa.ChunkedArray, name: str) -> bool:
    if name == NONE or not len(cells):
        return name != NONE
    ends = np.cumsum(pc.binary_length(cells).to_numpy())
    some = max(1, int(np.searchsorted(ends, _SAMPLE_BYTES, side="right")))
    # A copy, since the memory of a slice also holds rows that are not of this file.
    *_, sample = cells.take(pa.array(np.arange(some))).combine_chunks().buffers()
    return not sample.size or pa.Codec(name).compress(sample).size <= WORTH * sample.size
