"""How images travel through the shuffle: each in the smaller form, as it is stored or as pixels.

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
from echelon.recipes.images.batches import BYTES_AT_ONCE, Stored
from echelon.recipes.images.labelled import IMAGE, KEY, LABEL
from echelon.recipes.images.rows import Problem
from echelon.recipes.pixels.decode import BrokenImage, decode, stretched
from echelon.spark import prepare as spark

CONVERTED = "converted"
"""Counts the images that were not RGB in their files."""
_CONTENT, _IS_PIXELS = "content", "is_pixels"


def finish(size: tuple[int, int]) -> spark.Finish:
    """Decodes what travelled to images of one height and width."""
    columns = (Column(_CONTENT, "uint8", (None,)), Column(_IS_PIXELS, "bool"), Column(LABEL, "int64"))
    at_once = max(1, BYTES_AT_ONCE // _cell_bytes(size))
    return spark.Finish(Schema((*columns, Column(KEY, "string"))), _Decode(size), at_once)


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
    labels: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    bytes: int = 0
    converted: int = 0

    def add(self, image: Stored) -> Problem | None:
        content = image.content
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
        yield spark.Rows({_CONTENT: self.contents, _IS_PIXELS: self.pixels, LABEL: labels, KEY: self.keys}, split)
        yield Counter({CONVERTED: self.converted})

    def _append(self, image: Stored, content: NDArray[np.uint8], *, is_pixels: bool) -> None:
        self.contents.append(content)
        self.pixels.append(is_pixels)
        self.labels.append(image.label)
        self.keys.append(image.key)
        self.bytes += content.nbytes


@dataclass(frozen=True)
class _Decode:
    """Rows that travelled become rows of a dataset of images."""

    size: tuple[int, int]

    def __call__(self, rows: Mapping[str, Decoded]) -> spark.Finished:
        keys, contents, is_pixels = rows[KEY], rows[_CONTENT], np.asarray(rows[_IS_PIXELS])
        images = np.empty((len(keys), 3, *self.size), dtype=np.uint8)
        kept: list[int] = []
        problems: dict[int, Problem] = {}
        converted = 0
        for row, content in enumerate(contents):
            if is_pixels[row]:
                images[len(kept)] = np.asarray(content).reshape(images.shape[1:])
            else:
                try:
                    pixels, other = decode(np.asarray(content).tobytes(), self.size)
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


def _cell_bytes(size: tuple[int, int]) -> int:
    return 3 * size[0] * size[1]
