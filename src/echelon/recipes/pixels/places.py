"""Image files that are not read where they are found, but where they are decoded: their places travel in their stead.

The bytes of a photograph would be copied some ten times on their way through a shuffle, which costs a quarter of what
decoding it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow as pa

from echelon.data.storage import Storage

CUT_OFF = "the archive is cut off within it"
_REQUESTS = 8
"""At the same time, to a storage that is far away."""
_OPEN = 64
"""Files of a disk at the same time."""


@dataclass(frozen=True)
class Place:
    """Where the bytes of an image are. path: of a file of the source. length: -1 for the whole file."""

    path: str
    start: int = 0
    length: int = -1


def read(storage: Storage, place: Place) -> bytes | None:
    """The bytes at a place, or None if the file ends within it.

    Raises:
        FileNotFoundError: there is no such file. StorageError: it cannot be read at present.
    """
    if place.length < 0:
        return storage.read(place.path)
    with storage.open_input(place.path) as file:
        return _part(file, place)


def read_each(storage: Storage, places: Sequence[Place]) -> Iterator[bytes | None]:
    """The same of several places, in their order; few are in memory at once."""
    if storage.is_local:
        yield from _read_here(storage, places)
        return
    with ThreadPoolExecutor(_REQUESTS, "read images") as readers:
        for start in range(0, len(places), 2 * _REQUESTS):
            yield from readers.map(lambda place: read(storage, place), places[start : start + 2 * _REQUESTS])


def _read_here(storage: Storage, places: Sequence[Place]) -> Iterator[bytes | None]:
    """From disks. Archives stay open, since opening one takes several times as long as reading an image of it."""
    with ExitStack() as closing:
        opened: dict[str, pa.NativeFile] = {}
        for place in places:
            if place.length < 0:
                yield storage.read(place.path)
                continue
            if place.path not in opened:
                if len(opened) == _OPEN:
                    closing.close()
                    opened.clear()
                opened[place.path] = closing.enter_context(storage.open_input(place.path))
            yield _part(opened[place.path], place)


def _part(file: pa.NativeFile, place: Place) -> bytes | None:
    file.seek(place.start)
    content: bytes = file.read(place.length)
    return content if len(content) == place.length else None
