"""What a file of sound says of its own end, where its decoder takes what is there for the whole.

Ogg: RFC 3533, section 6 (the header of a page). WAV and AIFF: the size of the outermost chunk, as in "Multimedia
Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991) and "Audio Interchange File Format" (Apple,
1989).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

_OGG, _LAST_PAGE = b"OggS", 4
_OGG_HEAD = 27
_MOST_OGG_PAGE = _OGG_HEAD + 255 + 255 * 255
_CHUNKS = {b"RIFF": "little", b"FORM": "big"}
_CHUNK_HEAD = 8
_UNKNOWN_SIZE = 0x7FFFF000
"""Who writes into a pipe cannot know the size, and puts this or more."""


@dataclass(frozen=True)
class End:
    """How a file ends. present: the part of its bytes that is there, by what it says. is_cut: whether its mark of the
    end is missing, and nobody knows how much is.
    """

    present: float = 1.0
    is_cut: bool = False


def end_of(file: BinaryIO) -> End:
    """How a file ends; that of another kind ends well, as far as is known here."""
    file.seek(0)
    head, size = file.read(_CHUNK_HEAD), file.seek(0, os.SEEK_END)
    if head[:4] == _OGG:
        file.seek(max(0, size - 2 * _MOST_OGG_PAGE))
        return End(is_cut=not _ends(file.read()))
    if (order := _CHUNKS.get(head[:4])) is not None and len(head) == _CHUNK_HEAD:
        said = int.from_bytes(head[4:], "little" if order == "little" else "big")
        if 0 < said < _UNKNOWN_SIZE:
            return End(present=min(1.0, size / (said + _CHUNK_HEAD)))
    return End()


def _ends(tail: bytes) -> bool:
    """Whether the last page of an Ogg file is whole and the last one of its stream."""
    start = tail.rfind(_OGG)
    page = tail[start:]
    if start < 0 or len(page) < _OGG_HEAD or not page[5] & _LAST_PAGE:
        return False
    segments = page[_OGG_HEAD : _OGG_HEAD + page[26]]
    return len(segments) == page[26] and len(page) >= _OGG_HEAD + len(segments) + sum(segments)
