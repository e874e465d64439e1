"""Images as a source stores them, decoded batch by batch in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from echelon.recipes.images.decode import BrokenImage, decode, stretched
from echelon.recipes.images.rows import Pixels, Problem, Rows

BYTES_AT_ONCE = 16 << 20


@dataclass(frozen=True)
class Stored:
    """One image.

    key: its name, unique in the source. label: -1 for none. content: the bytes of a JPEG, PNG or other file, or pixels,
    uint8 [1 or 3, H, W].
    """

    key: str
    label: int
    content: bytes | Pixels


def decoded(images: Iterable[Stored | Problem], size: tuple[int, int]) -> Iterator[Rows | Problem]:
    """The same images, in their order, as pixels of one height and width; a problem for each that is broken."""
    most = max(1, BYTES_AT_ONCE // (3 * size[0] * size[1]))
    held = _Held()
    for image in images:
        found = image if isinstance(image, Problem) else held.add(image, size)
        if found is not None:
            yield found
        if len(held.keys) == most:
            yield held.rows()
            held = _Held()
    if held.keys:
        yield held.rows()


class _Held:
    """Images that were decoded."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._images: list[Pixels] = []
        self._labels: list[int] = []
        self._converted = 0

    def add(self, image: Stored, size: tuple[int, int]) -> Problem | None:
        try:
            to_pixels = decode if isinstance(image.content, bytes) else stretched
            pixels, converted = to_pixels(image.content, size)  # type: ignore[arg-type]
        except BrokenImage as error:
            return Problem(image.key, str(error))
        self.keys.append(image.key)
        self._images.append(pixels)
        self._labels.append(image.label)
        self._converted += converted
        return None

    def rows(self) -> Rows:
        return Rows(np.stack(self._images), np.asarray(self._labels, dtype=np.int64), self.keys, self._converted)
