"""The framing of TFRecord files: where each record is, and whether it is whole.

A record is its length (8 bytes, little endian), the checksum of these, its content, and the checksum of that. Checksums
are CRC-32C, masked. Source: tensorflow/core/lib/io/record_writer.h, and RFC 3720 for the polynomial.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from echelon.errors import EchelonError

HEAD, TAIL = 12, 4
"""Bytes before and behind a content."""
MOST_BYTES = 16 << 20
"""Of a content; a video of 300 frames has 0.35 MB. What is longer is left out, so that no file can take all memory."""
_SKIPPED_AT_ONCE = 1 << 20


class ByteSource(Protocol):
    """What bytes are read from: a file, or a stream that decompresses one."""

    def read(self, nbytes: int) -> bytes: ...

    def seek(self, position: int) -> int: ...


class Place(NamedTuple):
    """Where a record is. number: from 0, in its file. start: the byte at which it begins. length: of its content."""

    number: int
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + HEAD + self.length + TAIL


@dataclass(frozen=True)
class Loss:
    """A record, or all of a file from there on, that cannot be read. size: bytes that are lost."""

    number: int
    start: int
    size: int
    reason: str

    def __str__(self) -> str:
        return f"record {self.number} at byte {self.start:,}: {self.reason}"


class Window:
    """Bytes of a file by their place, read forward in pieces; only the newest piece is kept.

    file: whose first byte comes next. size: of the file; None for a stream, whose end nobody knows and which cannot go
    back. piece: bytes that are read at once, at least.
    """

    def __init__(self, file: ByteSource, size: int | None, piece: int) -> None:
        self.size = size
        self._file, self._piece = file, piece
        self._start, self._held, self._at = 0, b"", 0

    def get(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on, which is never before that of an earlier call; fewer where the file ends."""
        skipped = start - self._start
        if skipped + count <= len(self._held):
            return self._held[skipped : skipped + count]
        self._held, self._start = self._held[skipped:], start
        self._go_to(start + len(self._held))
        missing = count - len(self._held)
        pieces = [self._held]
        while missing > 0 and (read := self._file.read(max(missing, self._piece))):
            self._at += len(read)
            missing -= len(read)
            pieces.append(read)
        self._held = pieces[0] + pieces[1] if len(pieces) == 2 else b"".join(pieces)
        return self._held[:count]

    def _go_to(self, place: int) -> None:
        if self.size is not None:
            if place != self._at:
                self._file.seek(place)
                self._at = place
            return
        while self._at < place and (read := self._file.read(min(place - self._at, _SKIPPED_AT_ONCE))):
            self._at += len(read)


def places(window: Window) -> Iterator[Place | Loss]:
    """The records of a file in their order; only their lengths are read and checked.

    After a wrong checksum of a length nobody knows where the next record begins: the rest of the file is one loss.
    """
    number = start = 0
    while head := window.get(start, HEAD):
        (length,) = struct.unpack_from("<Q", head) if len(head) == HEAD else (0,)
        if (reason := _fault(head)) is not None:
            yield Loss(number, start, _rest(window, start), f"{reason}; the rest of the file is lost")
            return
        place = Place(number, start, length)
        if window.size is not None and place.end > window.size:
            yield _cut_off(place, window.size - start)
            return
        if length > MOST_BYTES:
            yield Loss(number, start, HEAD + length + TAIL, f"it has {length:,} bytes, more than {MOST_BYTES:,}")
        else:
            yield place
        number, start = number + 1, place.end


def content_at(window: Window, place: Place) -> bytes | Loss:
    """The content of a record, checked."""
    return checked(window.get(place.start + HEAD, place.length + TAIL), place)


def checked(content: bytes, place: Place) -> bytes | Loss:
    """The content of a record, of what stands behind its length: itself and its checksum."""
    if len(content) < place.length + TAIL:
        return _cut_off(place, HEAD + len(content))
    given, found = content[:-TAIL], int.from_bytes(content[-TAIL:], "little")
    if masked_crc(given) != found:
        return Loss(place.number, place.start, place.end - place.start, "its content has the wrong checksum")
    return given


def masked_crc(content: bytes) -> int:
    """The checksum of some bytes as TFRecord files have it."""
    crc = _crc32c()(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _crc32c() -> Any:
    """
    Raises:
        EchelonError: google-crc32c is not installed.
    """
    try:
        from google_crc32c import value
    except ImportError:
        raise EchelonError("TFRecord files need google-crc32c: pip install 'echelon[video]'") from None
    return value


def _fault(head: bytes) -> str | None:
    if len(head) < HEAD:
        return "the file ends within its length"
    if masked_crc(head[:8]) != int.from_bytes(head[8:], "little"):
        return "its length has the wrong checksum"
    return None


def _rest(window: Window, start: int) -> int:
    """Bytes from `start` to the end of the file."""
    if window.size is not None:
        return window.size - start
    end = start
    while piece := window.get(end, _SKIPPED_AT_ONCE):
        end += len(piece)
    return end - start


def _cut_off(place: Place, left: int) -> Loss:
    reason = f"the file ends within it: of its {place.end - place.start:,} bytes there are {left:,}"
    return Loss(place.number, place.start, left, reason)
