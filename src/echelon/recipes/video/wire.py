"""A fast reader of examples in the form in which TensorFlow writes them, and of no other.

Source: the encoding of protocol buffers (https://protobuf.dev/programming-guides/encoding) and feature.proto of
TensorFlow. All frames of one feature are written with the same number of bytes, so a whole list of them is one array;
and what stands before a feature of known size is always the same, so it is compared, not read. What is not in exactly
the usual form is left to protobuf: whatever is accepted here means the same there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.video.columns import AUDIO, MEAN_AUDIO, MEAN_RGB, RGB, SIZES

IDS = (b"id", b"video_id")
_LABELS = b"labels"
_FIRST, _SECOND, _THIRD = 0x0A, 0x12, 0x1A
"""Tags of the fields 1, 2 and 3, of the wire type that begins with a length."""
_MOST_LABEL_BYTES = 4096
_FRAMES = {name.encode(): name for name in (RGB, AUDIO)}
_MEANS = {name.encode(): name for name in (MEAN_RGB, MEAN_AUDIO)}

Span = tuple[int, int]
Name = TypeVar("Name")
Value = TypeVar("Value")


class Unusual(Exception):
    """The bytes are not in the usual form."""


@dataclass
class Fields:
    """What an example says, as far as it concerns videos.

    sequence: whether there are lists of frames. ids: by name. labels: as they stand there. features: by column, of
    frames uint8 [frames, size], mostly views of the bytes, of videos float32 [size].
    """

    sequence: bool
    ids: dict[bytes, bytes] = field(default_factory=dict)
    labels: Sequence[int] | None = None
    features: dict[str, NDArray] = field(default_factory=dict)


def read(data: bytes) -> Fields:
    """The fields of an Example or SequenceExample.

    Raises:
        Unusual: nothing is said of these bytes, they may be wrong altogether.
    """
    try:
        at, end = _field(data, 0, len(data), _FIRST)
        lists = _field(data, end, len(data), _SECOND) if end < len(data) else None
        if lists is not None and lists[1] != len(data):
            raise Unusual
        fields = Fields(sequence=lists is not None)
        while at < end:
            start, at = _field(data, at, end, _FIRST)
            if not _take_usual(data, start, at, fields):
                _take(data, *_entry(data, start, at), fields)
        for name, span in _entries(data, *lists).items() if lists is not None else ():
            if name not in _FRAMES:
                raise Unusual
            fields.features[_FRAMES[name]] = _frames(data, span, SIZES[_FRAMES[name]])
    except IndexError:
        raise Unusual from None
    return fields


def read_ids(data: bytes) -> dict[bytes, bytes]:
    """The ids in the first bytes of an example.

    Raises:
        Unusual: as in `read`, or the first field ends behind these bytes.
    """
    try:
        at, end = _field(data, 0, len(data), _FIRST)
        entries = _entries(data, at, end)
        return {name: _one_bytes(data, entries[name]) for name in IDS if name in entries}
    except IndexError:
        raise Unusual from None


def _varint(value: int) -> bytes:
    """A number as it is written: seven bits a byte, the lowest first."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _head(name: bytes, kind: int, size: int) -> bytes:
    """What stands in a map's entry before the `size` bytes of the only value, or packed values, of a feature."""
    value = b"\x0a" + _varint(size)
    value = bytes([kind]) + _varint(len(value) + size) + value
    value = b"\x12" + _varint(len(value) + size) + value
    return b"\x0a" + _varint(len(name)) + name + value


def _heads() -> dict[int, tuple[bytes, bytes]]:
    """By the length of its entry, the name and the head of each feature whose size is known, or usual."""
    usual = [(name, _SECOND, 4 * SIZES[column]) for name, column in _MEANS.items()]
    usual += [(b"id", _FIRST, size) for size in range(4, 12)]
    return {len(_head(*one)) + one[2]: (one[0], _head(*one)) for one in usual}


_HEADS = _heads()


def _take_usual(data: bytes, at: int, end: int, fields: Fields) -> bool:
    """Adds the feature of an entry, if that has one of the usual heads."""
    name, head = _HEADS.get(end - at, (b"", b""))
    if not head or not data.startswith(head, at):
        return False
    at += len(head)
    if name in _MEANS:
        _put(fields.features, _MEANS[name], _floats(data, at, end))
    else:
        _put(fields.ids, name, data[at:end])
    return True


def _take(data: bytes, name: bytes, span: Span, fields: Fields) -> None:
    """Adds a feature of the first field."""
    if name in IDS:
        _put(fields.ids, name, _one_bytes(data, span))
    elif name == _LABELS and fields.labels is None:
        fields.labels = _labels(data, span)
    elif name in _MEANS:
        at, end = _packed(data, span, _SECOND)
        if (end - at) % 4:
            raise Unusual
        _put(fields.features, _MEANS[name], _floats(data, at, end))
    else:
        raise Unusual


def _floats(data: bytes, at: int, end: int) -> NDArray[np.float32]:
    # A copy, since numbers that lie askew take ten times as long wherever they are used.
    return np.frombuffer(data[at:end], "<f4")


def _put(fields: dict[Name, Value], name: Name, value: Value) -> None:
    """Adds what may only be there once: of two protobuf takes the last."""
    if name in fields:
        raise Unusual
    fields[name] = value


def _entry(data: bytes, at: int, end: int) -> tuple[bytes, Span]:
    """The key of a map's entry, and where its value is."""
    key, value = _field(data, at, end, _FIRST)
    start, last = _field(data, value, end, _SECOND)
    if last != end:
        raise Unusual
    return data[key:value], (start, last)


def _entries(data: bytes, at: int, end: int) -> dict[bytes, Span]:
    """Where the values of a map are."""
    found: dict[bytes, Span] = {}
    while at < end:
        start, at = _field(data, at, end, _FIRST)
        _put(found, *_entry(data, start, at))
    return found


def _field(data: bytes, at: int, end: int, tag: int) -> Span:
    """Where the content of a field is that begins at `at` and ends at the latest at `end`."""
    if data[at] != tag:
        raise Unusual
    length = data[at + 1]
    at += 2
    if length >= 0x80:
        length, at = _more(data, at, length & 0x7F)
    if at + length > end:
        raise Unusual
    return at, at + length


def _more(data: bytes, at: int, value: int) -> tuple[int, int]:
    """A number whose first seven bits are known, and where it ends; of four bytes at most."""
    for shift in (7, 14, 21):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Unusual


def _whole(data: bytes, span: Span, tag: int) -> Span:
    """The content of the only field in a span."""
    at, end = _field(data, *span, tag)
    if end != span[1]:
        raise Unusual
    return at, end


def _packed(data: bytes, span: Span, kind: int) -> Span:
    """The values of a feature, which is a list of a kind."""
    at, end = _whole(data, span, kind)
    return (at, end) if at == end else _whole(data, (at, end), _FIRST)


def _one_bytes(data: bytes, span: Span) -> bytes:
    """The value of a feature that is a list of one value of bytes."""
    at, end = _whole(data, _whole(data, span, _FIRST), _FIRST)
    return data[at:end]


def _labels(data: bytes, span: Span) -> list[int]:
    at, end = _packed(data, span, _THIRD)
    if end - at > _MOST_LABEL_BYTES:
        raise Unusual
    values = []
    while at < end:
        value = data[at]
        at += 1
        if value >= 0x80:
            value, at = _more(data, at, value & 0x7F)
        values.append(value)
    if at != end:
        raise Unusual
    return values


def _frames(data: bytes, span: Span, size: int) -> NDArray[np.uint8]:
    """The frames of a list, uint8 [frames, size], all of one form: a feature of a list of one value of `size` bytes."""
    at, end = span
    if at == end:
        return np.empty((0, size), np.uint8)
    _, stop = first = _field(data, at, end, _FIRST)
    start, last = _whole(data, _whole(data, first, _FIRST), _FIRST)
    head, stride = start - at, stop - at
    if last - start != size or (end - at) % stride:
        raise Unusual
    table = np.frombuffer(data, np.uint8, end - at, at).reshape(-1, stride)
    heads = table[:, :head]
    if (heads != heads[0]).any():
        raise Unusual
    return table[:, head:]
