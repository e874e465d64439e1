"""Images in an LMDB of Caffe: each value is a protobuf message `Datum`.

Source: Caffe's src/caffe/proto/caffe.proto and tools/convert_imageset.cpp (https://github.com/BVLC/caffe). What it
writes unencoded is in the order of OpenCV: channels, rows, columns, with blue first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from echelon.errors import EchelonError
from echelon.recipes.images.raw import as_pixels
from echelon.recipes.images.rows import UNLABELLED, Pixels
from echelon.recipes.pixels.decode import BrokenImage

_LABEL_FIELD = 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@lru_cache(maxsize=1)
def message() -> Any:
    """The class of the message Datum, made at run time: generated code would be bound to one version of protobuf.

    Raises:
        EchelonError: protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise EchelonError("an LMDB of Caffe needs lmdb and protobuf: pip install 'echelon[caffe]'") from None
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="echelon/datum.proto", package="echelon.caffe", syntax="proto2")
    datum = file.message_type.add(name="Datum")
    for number, (name, kind) in enumerate(
        (
            ("channels", field.TYPE_INT32),
            ("height", field.TYPE_INT32),
            ("width", field.TYPE_INT32),
            ("data", field.TYPE_BYTES),
            ("label", field.TYPE_INT32),
            ("float_data", field.TYPE_FLOAT),
            ("encoded", field.TYPE_BOOL),
        ),
        start=1,
    ):
        label = field.LABEL_REPEATED if name == "float_data" else field.LABEL_OPTIONAL
        datum.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("echelon.caffe.Datum"))


def content_of(record: bytes, blue_first: bool) -> bytes | Pixels:
    """The encoded bytes of an image, or its pixels, uint8 [1 or 3, H, W], red first.

    Raises:
        BrokenImage: the record is no Datum, or its pixels are not what it says.
    """
    from google.protobuf.message import DecodeError

    datum = message()()
    try:
        datum.ParseFromString(record)
    except DecodeError as error:
        raise BrokenImage(f"it is no Datum of Caffe: {error}") from None
    if datum.encoded:
        return bytes(datum.data)
    shape = datum.channels, datum.height, datum.width
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.asarray(datum.float_data, np.float32)
    pixels = as_pixels(values, shape)
    return pixels[::-1] if blue_first and len(pixels) == 3 else pixels


def label_of(record: memoryview) -> int:
    """The label of a serialised Datum, -1 if it has none. Does not touch the pixels, which are most of a database.

    Raises:
        BrokenImage: the record is no protobuf message.
    """
    label = UNLABELLED
    try:
        for number, value in _fields(record):
            if number == _LABEL_FIELD and value is not None:
                label = value - (1 << 64) if value >> 63 else value
    except IndexError:
        raise BrokenImage("it is no Datum of Caffe: it is cut off") from None
    return label


def _fields(record: memoryview) -> Iterator[tuple[int, int | None]]:
    """The number of each field of a message, and its value if that is a varint."""
    at = 0
    while at < len(record):
        tag, at = _varint(record, at)
        value, kind = None, tag & 7
        if kind == _VARINT:
            value, at = _varint(record, at)
        elif kind == _BYTES:
            size, at = _varint(record, at)
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise BrokenImage(f"it is no Datum of Caffe: it has a field of the wire type {kind}")
        if at > len(record):
            raise IndexError(at)
        yield tag >> 3, value


def _varint(record: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = record[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128 or shift >= 70:
            return value, at
