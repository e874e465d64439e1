"""Images in the rows of Parquet that others wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.images.batches import Stored, StoredImages
from echelon.recipes.images.raw import as_pixels, likely_shape
from echelon.recipes.images.rows import Pixels, Problem
from echelon.recipes.pixels.decode import BrokenImage

KEY = "key"
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
"""How encoded images begin, but BMP and PPM, whose marks are so short that pixels may begin like them."""
_PPM = re.compile(rb"P[1-6]\s+(#.*\n)?\d+\s+\d+\s")
_ROWS_AT_ONCE = 32
_BUFFER = 1 << 20


@dataclass(frozen=True)
class GroupRows(StoredImages):
    """Some rows of a row group.

    column: of the images. group: number of the row group, whose first row is row `first` of the file. places: of the
    rows in the group, ascending, each with its label. size: height and width that images are brought to. keyed: whether
    the column "key" has their keys; otherwise these are made of the path and the row.
    """

    path: str
    column: str
    group: int
    first: int
    places: tuple[tuple[int, int], ...]
    split: str
    size: tuple[int, int]
    keyed: bool

    @property
    def images(self) -> int:
        return len(self.places)

    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        with opened(storage, self.path) as file:
            yield from self._stored(file)

    def _stored(self, file: pq.ParquetFile) -> Iterator[Stored | Problem]:
        labels, place = dict(self.places), 0
        columns = [self.column, KEY] if self.keyed else [self.column]
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[self.group], columns=columns):
            names = batch.column(KEY).to_pylist() if self.keyed else [None] * len(batch)
            for cell, name in zip(batch.column(self.column), names, strict=True):
                if place in labels:
                    key = key_of(self.path, self.first + place) if name is None else name
                    try:
                        yield Stored(key, labels[place], content_of(cell, self.size))
                    except BrokenImage as error:
                        yield Problem(key, str(error))
                place += 1


def key_of(path: str, row: int) -> str:
    """The name of a row of a file that gives it none."""
    return f"{path}#{row}"


def content_of(cell: pa.Scalar, size: tuple[int, int]) -> bytes | Pixels:
    """The encoded bytes of an image, or its pixels, uint8 [1 or 3, H, W].

    cell: bytes, a struct with the field "bytes", or a list of numbers. Numbers, and bytes that do not begin like an
        encoded image but are as many as one has, are pixels of 0 to 255 in the order of channels, rows and columns.
    size: height and width that they have, if they are not of a square.

    Raises:
        BrokenImage: there is nothing, or it is not as many numbers as an image has.
    """
    if pat.is_struct(cell.type):
        cell = cell["bytes"] if cell.is_valid else cell
    if not cell.is_valid:
        raise BrokenImage("it is null")
    if not _is_bytes(cell.type):
        values = cell.values
        if values.null_count:
            raise BrokenImage("numbers of it are null")
        return _pixels(values.to_numpy(zero_copy_only=False), size)
    data: bytes = cell.as_py()
    if _is_encoded(data) or likely_shape(len(data), size) is None:
        return data
    return _pixels(np.frombuffer(data, np.uint8), size)


def _is_encoded(data: bytes) -> bool:
    bitmap = data[:2] == b"BM" and int.from_bytes(data[2:6], "little") == len(data)
    return bitmap or data.startswith(_MAGIC) or _PPM.match(data) is not None


def _pixels(values: np.ndarray, size: tuple[int, int]) -> Pixels:
    shape = likely_shape(values.size, size)
    if shape is None:
        raise BrokenImage(
            f"it has {values.size:,} numbers, which are no square image and none of {size[1]}x{size[0]} (see --size)"
        )
    return as_pixels(values, shape)


def can_hold_images(kind: Any) -> bool:
    """Whether `content_of` understands cells of an Arrow type."""
    if pat.is_struct(kind):
        return any(kind[i].name == "bytes" and _is_bytes(kind[i].type) for i in range(kind.num_fields))
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        return pat.is_integer(kind.value_type) or pat.is_floating(kind.value_type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pat.is_binary(kind) or pat.is_large_binary(kind)


@contextmanager
def opened(storage: Storage, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file, read in small pieces.

    Raises:
        DataError: it is cut off or damaged.
    """
    with storage.open_input(path) as source:
        try:
            yield pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{storage.url_of(path)} cannot be read as Parquet: {error}") from error
