"""Images as a source stores them, decoded batch by batch in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from echelon.data.storage import Storage
from echelon.recipes.images.rows import Pixels, Problem, Rows
from echelon.recipes.pixels.decode import BrokenImage, decode, stretched
from echelon.recipes.pixels.places import CUT_OFF, Place, read

BYTES_AT_ONCE = 16 << 20


@dataclass(frozen=True)
class Stored:
    """One image.

    key: its name, unique in the source. label: -1 for none. content: the bytes of a JPEG, PNG or other file, or where
    they are, or pixels, uint8 [1 or 3, H, W].
    """

    key: str
    label: int
    content: bytes | Place | Pixels


class StoredImages(ABC):
    """An item, see `rows.Item`, whose images a source holds one by one. size: height and width they are brought to."""

    size: tuple[int, int]

    @abstractmethod
    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        """Its images as the source holds them, in a fixed order.

        Raises:
            DataError: the file as a whole is not what it should be.
        """

    def is_brief(self, storage: Storage) -> bool:
        """Whether `stored` only says where its images are, without looking into files."""
        return False

    def rows(self, storage: Storage) -> Iterator[Rows | Problem]:
        """The same images, decoded."""
        return decoded(self.stored(storage), self.size, storage)


def decoded(images: Iterable[Stored | Problem], size: tuple[int, int], storage: Storage) -> Iterator[Rows | Problem]:
    """The same images, in their order, as pixels of one height and width; a problem for each that is broken.

    storage: where those are that are given by their places.
    """
    held = _Held(size, storage)
    for image in images:
        found = image if isinstance(image, Problem) else held.add(image)
        if found is not None:
            yield found
        if held.is_full:
            yield held.rows()
            held = _Held(size, storage)
    if held.keys:
        yield held.rows()


class _Held:
    """Images that were decoded. They are laid into one array as they come, since copies of them would take longer than
    all else but the decoding.
    """

    def __init__(self, size: tuple[int, int], storage: Storage) -> None:
        most = max(1, BYTES_AT_ONCE // (3 * size[0] * size[1]))
        self.keys: list[str] = []
        self._images = np.empty((most, 3, *size), dtype=np.uint8)
        self._labels: list[int] = []
        self._converted = 0
        self._storage = storage

    @property
    def is_full(self) -> bool:
        return len(self.keys) == len(self._images)

    def add(self, image: Stored) -> Problem | None:
        content = read(self._storage, image.content) if isinstance(image.content, Place) else image.content
        if content is None:
            return Problem(image.key, CUT_OFF)
        size = self._images.shape[2], self._images.shape[3]
        try:
            pixels, converted = decode(content, size) if isinstance(content, bytes) else stretched(content, size)
        except BrokenImage as error:
            return Problem(image.key, str(error))
        self._images[len(self.keys)] = pixels
        self.keys.append(image.key)
        self._labels.append(image.label)
        self._converted += converted
        return None

    def rows(self) -> Rows:
        images = self._images[: len(self.keys)]
        return Rows(images, np.asarray(self._labels, dtype=np.int64), self.keys, self._converted)
