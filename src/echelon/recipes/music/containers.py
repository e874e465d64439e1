"""What a file of sound says of its own end, where its decoder takes what it reads for the whole.

Ogg: RFC 3533, section 6 (the header of a page). WAV and AIFF: the size of the outermost chunk, as in "Multimedia
Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991) and "Audio Interchange File Format" (Apple,
1989); RF64: EBU Tech 3306; W64: Sony Wave64; AU: its header by Sun. MP3: ISO/IEC 11172-3, 2.4.1.3 (the header of a
frame), id3.org (ID3v2), and the Xing header, which most encoders write.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

_HEAD = 40
_OGG, _LAST_PAGE = b"OggS", 4
_OGG_HEAD = 27
_MOST_OGG_PAGE = _OGG_HEAD + 255 + 255 * 255
_ID3, _ID3_HEAD = b"ID3", 10
_XING_WITHIN = 64
"""Bytes of a frame within which its Xing header begins."""
_UNKNOWN = {4: 0x7FFFF000, 8: 1 << 62}
"""By the bytes of a size: who writes into a pipe cannot know it, and puts this or more."""


@dataclass(frozen=True)
class End:
    """How a file ends. present: the part of its bytes that is there, by what it says. is_cut: whether its mark of the
    end is missing, and nobody knows how much is. beyond: what else it holds, which decoders leave out; None if nothing.
    """

    present: float = 1.0
    is_cut: bool = False
    beyond: str | None = None


def end_of(file: BinaryIO) -> End:
    """How a file ends; that of another kind ends well, as far as is known here."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    if head[:4] == _OGG:
        return _end_of_ogg(file, head, size)
    if head[:3] == _ID3 or is_mpeg_frame(head):
        return End(beyond=_behind_mpeg(file, size))
    said = _said(head)
    return End(present=min(1.0, size / said)) if said else End()


def is_mpeg_frame(head: bytes) -> bool:
    """Whether these are the first bytes of an MPEG frame of layer 2 or 3, with a rate of bits and of samples. Those of
    layer 1, which hardly any song has, are also those of texts in UTF-16.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, bits, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer in (1, 2) and bits != 15 and rate != 3


def _end_of_ogg(file: BinaryIO, head: bytes, size: int) -> End:
    file.seek(max(0, size - 2 * _MOST_OGG_PAGE))
    tail = file.read()
    start = tail.rfind(_OGG)
    if start < 0:
        return End(is_cut=True)
    page = tail[start:]
    segments = page[_OGG_HEAD : _OGG_HEAD + page[26]] if len(page) >= _OGG_HEAD else b""
    is_whole = len(page) >= _OGG_HEAD + len(segments) + sum(segments) and len(segments) == page[26]
    # The first one has the number of its stream, too.
    beyond = "it holds several streams, of which only the first is read" if page[14:18] != head[14:18] else None
    return End(is_cut=not (is_whole and page[5] & _LAST_PAGE), beyond=beyond)


def _behind_mpeg(file: BinaryIO, size: int) -> str | None:
    """What begins where the Xing header of an mp3 says that it ends, as where files were joined; None if nothing."""
    start = _behind_tags(file, 0)
    file.seek(start)
    frame = file.read(_XING_WITHIN + 16)
    place = max(frame.find(name, 0, _XING_WITHIN) for name in (b"Xing", b"Info"))
    if place < 0 or not is_mpeg_frame(frame):
        return None
    flags = _number(frame, place + 4, 4)
    # Only by how many frames it says that there are, decoders end; only by the bytes we know where that is.
    if flags & 3 != 3:
        return None
    end = start + _number(frame, place + 12, 4)
    file.seek(_behind_tags(file, end))
    if not end > start or not is_mpeg_frame(file.read(4)):
        return None
    return f"behind the end that it says to have another song begins, of {size - end:,} bytes, which is not read"


def _behind_tags(file: BinaryIO, place: int) -> int:
    """Where the tags of ID3v2 that begin at a place end."""
    while True:
        file.seek(place)
        head = file.read(_ID3_HEAD)
        if head[:3] != _ID3 or len(head) < _ID3_HEAD:
            return place
        has_footer = head[5] & 0x10
        place += _ID3_HEAD * (2 if has_footer else 1) + sum((head[6 + n] & 127) << 7 * (3 - n) for n in range(4))


def _said(head: bytes) -> int | None:
    """Bytes that the whole file should have, by its first ones; None where they do not say."""
    kind = head[:4]
    if kind == b"RIFF":
        return _known(head, 4, 4, 8, "little")
    if kind == b"FORM":
        return _known(head, 4, 4, 8)
    if kind == b"RF64" and head[12:16] == b"ds64":
        return _known(head, 20, 8, 8, "little")
    if kind == b"riff" and head[24:28] == b"wave":
        return _known(head, 16, 8, 0, "little")
    return _known(head, 8, 4, _number(head, 4, 4)) if kind == b".snd" else None


def _known(head: bytes, place: int, width: int, more: int, order: str = "big") -> int | None:
    """A size in a head, and what comes to it; None if whoever wrote it did not know it."""
    said = _number(head, place, width, order)
    return said + more if 0 < said < _UNKNOWN[width] else None


def _number(head: bytes, place: int, width: int, order: str = "big") -> int:
    return int.from_bytes(head[place : place + width], "little" if order == "little" else "big")
