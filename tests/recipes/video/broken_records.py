"""Files of made videos and ways to break them."""

from __future__ import annotations

from pathlib import Path

from echelon.recipes.video.made import framed, made_means, made_videos, to_record
from echelon.recipes.video.tfrecord import HEAD, TAIL


def frame_records(count: int, seed: int = 0) -> list[bytes]:
    return [to_record(video) for video in made_videos(count, 20, seed, frames=(1, 5))]


def mean_records(count: int, seed: int = 0) -> list[bytes]:
    return [to_record(video) for video in made_means(count, 20, seed)]


def starts(records: list[bytes]) -> list[int]:
    """Where each record begins in a file, and the size of the file."""
    places = [0]
    for record in records:
        places.append(places[-1] + HEAD + len(record) + TAIL)
    return places


def flipped(content: bytes, place: int) -> bytes:
    """Some bytes with one bit turned."""
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def file_of(records: list[bytes]) -> bytes:
    return b"".join(map(framed, records))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
