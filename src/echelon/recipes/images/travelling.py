"""How images travel through the shuffle: as their places in the source, else each in the smaller form, encoded or as
pixels.

A photograph is half as large as its pixels at 256x256, and many times larger than those at 64x64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echelon.data.cells import Decoded
from echelon.data.schema import Column, Schema, Values
from echelon.data.storage import Storage
from echelon.recipes.images.batches import BYTES_AT_ONCE, Stored
from echelon.recipes.images.labelled import IMAGE, KEY, LABEL
from echelon.recipes.images.rows import Pixels, Problem
from echelon.recipes.pixels.decode import BrokenImage, decode, stretched
from echelon.recipes.pixels.places import CUT_OFF, Place, read_each
from echelon.spark import prepare as spark

CONVERTED = "converted"
"""Counts the images that were not RGB in their files."""
_CONTENT, _IS_PIXELS = "content", "is_pixels"
_PATH, _START, _LENGTH = "path", "start", "length"
"""Of the place of an image whose content does not travel; else the path is ""."""
_PLACE_BYTES = 64
_HERE = Place("", length=0)


def finish(size: tuple[int, int], storage: Storage) -> spark.Finish:
    """Decodes what travelled to images of one height and width. storage: of the source."""
    columns = (
        Column(_CONTENT, "uint8", (None,)), Column(_IS_PIXELS, "bool"), Column(_PATH, "string"),
        Column(_START, "int64"), Column(_LENGTH, "int64"), Column(LABEL, "int64"), Column(KEY, "string"),
    )  # fmt: skip
    at_once = max(1, BYTES_AT_ONCE // _cell_bytes(size))
    return spark.Finish(Schema(columns), _Decode(size, storage), at_once)


def travelling(images: Iterable[Stored | Problem], size: tuple[int, int], split: str) -> Iterator[spark.Found]:
    """Images of one split, in their order, as rows for `finish(size)`; a problem for each already known as broken."""
    held = _Held(size)
    for image in images:
        problem = image if isinstance(image, Problem) else held.add(image)
        if problem is not None:
            yield problem
        if held.bytes >= BYTES_AT_ONCE:
            yield from held.found(split)
            held = _Held(size)
    if held.keys:
        yield from held.found(split)


@dataclass
class _Held:
    """Images that wait to travel together."""

    size: tuple[int, int]
    contents: list[NDArray[np.uint8]] = field(default_factory=list)
    pixels: list[bool] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    bytes: int = 0
    converted: int = 0

    def add(self, image: Stored) -> Problem | None:
        content = image.content
        if isinstance(content, Place):
            self._append(image, np.zeros(0, np.uint8), is_pixels=False, place=content)
            return None
        if isinstance(content, bytes) and len(content) < _cell_bytes(self.size):
            self._append(image, np.frombuffer(content, np.uint8), is_pixels=False)
            return None
        try:
            pixels, converted = (
                decode(content, self.size) if isinstance(content, bytes) else stretched(content, self.size)
            )
        except BrokenImage as error:
            return Problem(image.key, str(error))
        self.converted += converted
        self._append(image, pixels.reshape(-1), is_pixels=True)
        return None

    def found(self, split: str) -> Iterator[spark.Found]:
        labels = np.asarray(self.labels, dtype=np.int64)
        values: dict[str, Values] = {
            _CONTENT: self.contents,
            _IS_PIXELS: self.pixels,
            _PATH: [place.path for place in self.places],
            _START: np.array([place.start for place in self.places], np.int64),
            _LENGTH: np.array([place.length for place in self.places], np.int64),
            LABEL: labels,
            KEY: self.keys,
        }
        yield spark.Rows(values, split)
        yield Counter({CONVERTED: self.converted})

    def _append(self, image: Stored, content: NDArray[np.uint8], *, is_pixels: bool, place: Place = _HERE) -> None:
        self.contents.append(content)
        self.pixels.append(is_pixels)
        self.labels.append(image.label)
        self.keys.append(image.key)
        self.places.append(place)
        self.bytes += content.nbytes + _PLACE_BYTES


@dataclass(frozen=True)
class _Decode:
    """Rows that travelled become rows of a dataset of images."""

    size: tuple[int, int]
    storage: Storage

    def __call__(self, rows: Mapping[str, Decoded]) -> spark.Finished:
        keys = rows[KEY]
        images = np.empty((len(keys), 3, *self.size), dtype=np.uint8)
        kept: list[int] = []
        problems: dict[int, Problem] = {}
        converted = 0
        for row, content in enumerate(self._contents(rows)):
            try:
                pixels, other = self._pixels(content)
            except BrokenImage as error:
                problems[row] = Problem(str(keys[row]), str(error))
                continue
            images[len(kept)] = pixels
            converted += other
            kept.append(row)
        values: dict[str, Values] = {
            IMAGE: images[: len(kept)],
            LABEL: np.asarray(rows[LABEL])[kept],
            KEY: [keys[row] for row in kept],
        }
        return spark.Finished(values, problems, Counter({CONVERTED: converted}))

    def _contents(self, rows: Mapping[str, Decoded]) -> Iterator[bytes | Pixels | None]:
        """What travelled, or was left where it is and is read now; None for what is not whole."""
        columns = (np.asarray(rows[_START]).tolist(), np.asarray(rows[_LENGTH]).tolist())
        places = [Place(str(path), *rest) for path, *rest in zip(rows[_PATH], *columns, strict=True)]
        left = read_each(self.storage, [place for place in places if place != _HERE])
        for place, content, is_pixels in zip(places, rows[_CONTENT], np.asarray(rows[_IS_PIXELS]), strict=True):
            if place != _HERE:
                yield next(left)
            elif is_pixels:
                yield np.asarray(content).reshape(3, *self.size)
            else:
                yield np.asarray(content).tobytes()

    def _pixels(self, content: bytes | Pixels | None) -> tuple[Pixels, bool]:
        """
        Raises:
            BrokenImage: there are none.
        """
        if content is None:
            raise BrokenImage(CUT_OFF)
        return decode(content, self.size) if isinstance(content, bytes) else (content, False)


def _cell_bytes(size: tuple[int, int]) -> int:
    return 3 * size[0] * size[1]
