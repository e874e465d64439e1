"""Which kind of sound a file holds, by its first bytes: what servers say of it is often wrong."""

from __future__ import annotations

from pathlib import Path

from echelon.recipes.music.containers import is_mpeg_frame

_ENOUGH = 16


def suffix_of(path: Path) -> str | None:
    """The suffix that a file should have: .mp3, .ogg, .flac or .wav; None if it is nothing of these.

    Sources: ISO/IEC 11172-3, 2.4.1.3 (the header of an MPEG frame), id3.org (ID3v2), RFC 3533 (Ogg), RFC 9639 (FLAC),
    and the RIFF and RF64 forms of WAVE (EBU Tech 3306).
    """
    with path.open("rb") as content:
        head = content.read(_ENOUGH)
    if head.startswith(b"ID3") or is_mpeg_frame(head):
        return ".mp3"
    if head.startswith(b"OggS"):
        return ".ogg"
    if head.startswith(b"fLaC"):
        return ".flac"
    return ".wav" if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE" else None
