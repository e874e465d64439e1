"""Image files that are not read where they are found, but where they are decoded: their places travel in their stead.

The bytes of a photograph would be copied some ten times on their way through a shuffle, which costs a quarter of what
decoding it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from echelon.data.storage import Storage

CUT_OFF = "the archive is cut off within it"
_REQUESTS = 8
"""At the same time, to a storage that is far away."""


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
        file.seek(place.start)
        content: bytes = file.read(place.length)
    return content if len(content) == place.length else None


def read_each(storage: Storage, places: Sequence[Place]) -> Iterator[bytes | None]:
    """The same of several places, in their order; few are in memory at once."""
    if storage.is_local:
        yield from (read(storage, place) for place in places)
        return
    with ThreadPoolExecutor(_REQUESTS, "read images") as readers:
        for start in range(0, len(places), 2 * _REQUESTS):
            yield from readers.map(lambda place: read(storage, place), places[start : start + 2 * _REQUESTS])
