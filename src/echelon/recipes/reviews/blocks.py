"""Lines of text files, in blocks of whole lines, in bounded memory; spans of one large file are read by many tasks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from echelon.data.storage import Storage
from echelon.errors import StorageError

LONGEST_LINE = 16 << 20
"""Bytes; what is longer is no review, and would not fit into bounded memory."""
_PIECE = 1 << 20
_MARK = b"\xef\xbb\xbf"
"""What Windows puts before UTF-8."""
_GZIP = 16 + zlib.MAX_WBITS
"""What zlib calls the format of gzip, with its checksums."""


@dataclass(frozen=True)
class Span:
    """Lines of a file: those that begin in bytes [start, end) of it. All of it where it is zipped.

    first_line: the number of the first of them, from 1. split: of all of them; "" for a division by names.
    """

    path: str
    start: int
    end: int
    first_line: int = 1
    split: str = ""

    @property
    def is_zipped(self) -> bool:
        return self.path.lower().endswith(".gz")


@dataclass(frozen=True)
class Block:
    """Whole lines, each with its end. first_line: the number of the first."""

    first_line: int
    content: bytes


@dataclass(frozen=True)
class LongLine:
    """A line that is longer than `LONGEST_LINE`. line: its number. size: its bytes."""

    line: int
    size: int


class DamagedFile(Exception):
    """A zipped file ends too early or its content does not fit together. Lines shortly before may be wrong too."""


def blocks_of(storage: Storage, span: Span, longest: int = LONGEST_LINE) -> Iterator[Block | LongLine]:
    """The lines of a span in blocks of about a MB.

    Raises:
        DamagedFile: zipped content is damaged; the whole lines before were given. StorageError: it cannot be read.
        FileNotFoundError: it is not there.
    """
    with storage.open_input(span.path) as file:
        pieces = _unzipped(file) if span.is_zipped else _within(file, span.start, span.end)
        try:
            for block in _whole_lines(pieces, span.first_line, longest):
                if isinstance(block, Block) and block.first_line == 1:
                    block = Block(1, block.content.removeprefix(_MARK))
                yield block
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"cannot read {storage.url_of(span.path)}: {error}") from error


def line_ends(storage: Storage, span: Span) -> int:
    """How many lines end before the last that begins in a span: what the lines of all later spans are counted from.

    Raises:
        StorageError: it cannot be read.
    """
    start, ends = max(span.start - 1, 0), 0
    try:
        with storage.open_input(span.path) as file:
            file.seek(start)
            for piece in _read(file, max(span.end - 1 - start, 0)):
                ends += piece.count(b"\n")
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {storage.url_of(span.path)}: {error}") from error
    return ends


def _read(file: pa.NativeFile, count: int) -> Iterator[bytes]:
    while count > 0 and (piece := file.read(min(_PIECE, count))):
        count -= len(piece)
        yield piece


def _within(file: pa.NativeFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes of all lines that begin in [start, end): from behind a line's end at start - 1 or later to one at
    end - 1 or later.
    """
    position = max(start - 1, 0)
    file.seek(position)
    begun = start == 0
    while piece := file.read(_PIECE):
        size = len(piece)
        if not begun:
            cut = piece.find(b"\n") + 1
            begun = cut > 0
            if not begun or position + cut >= end:
                position += size
                if position >= end or begun:
                    return
                continue
            piece, position, size = piece[cut:], position + cut, size - cut
        last = piece.find(b"\n", max(end - 1 - position, 0))
        if last >= 0:
            yield piece[: last + 1]
            return
        yield piece
        position += size


def _unzipped(file: pa.NativeFile) -> Iterator[bytes]:
    """The content of a zipped file, of one member or several, up to where it is damaged."""
    member = zlib.decompressobj(_GZIP)
    zipped, begun, members = b"", False, 0
    while zipped or (zipped := file.read(_PIECE)):
        # Some writers fill a file up with zeros.
        if members and not begun and not (zipped := zipped.lstrip(b"\0")):
            continue
        try:
            yield member.decompress(zipped, _PIECE)
        except zlib.error as error:
            raise DamagedFile(str(error)) from None
        zipped, begun = member.unconsumed_tail, True
        if member.eof:
            zipped = member.unused_data
            member, begun, members = zlib.decompressobj(_GZIP), False, members + 1
    if begun:
        raise DamagedFile("it ends too early")


def _whole_lines(pieces: Iterator[bytes], line: int, longest: int) -> Iterator[Block | LongLine]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        first = piece.find(b"\n")
        if cut and size + first > longest:
            yield LongLine(line, size + first)
            line, piece, cut, held, size = line + 1, piece[first + 1 :], cut - first - 1, [], 0
        if cut:
            content = b"".join((*held, piece[:cut]))
            yield Block(line, content)
            line, held, size = line + content.count(b"\n"), [], 0
        rest = piece[cut:]
        size += len(rest)
        held = [*held, rest] if size <= longest else []
    if size > longest:
        yield LongLine(line, size)
    elif size:
        yield Block(line, b"".join(held) + b"\n")
