"""Pixels that are stored as plain numbers."""

from __future__ import annotations

import math

from numpy.typing import NDArray

from echelon.recipes.images.rows import Pixels
from echelon.recipes.pixels.decode import BrokenImage, as_bytes


def as_pixels(values: NDArray, shape: tuple[int, int, int]) -> Pixels:
    """Numbers of 0 to 255 in the order of channels, rows, columns as uint8 [C, H, W]; C is 1 or 3.

    Raises:
        BrokenImage: there are more or fewer, other channels, or they are no numbers of 0 to 255, see `as_bytes`.
    """
    if shape[0] not in (1, 3) or min(shape) < 1:
        raise BrokenImage(f"it has {shape[0]} channels of {shape[2]}x{shape[1]}; only 1 and 3 are known")
    if values.size != math.prod(shape):
        raise BrokenImage(f"it has {values.size:,} numbers, not the {math.prod(shape):,} of {list(shape)}")
    return as_bytes(values).reshape(shape)


def likely_shape(count: int, size: tuple[int, int]) -> tuple[int, int, int] | None:
    """The shape of an image of so many numbers: of the wanted height and width, else square; None if it is neither."""
    for channels in (3, 1):
        if count == channels * size[0] * size[1]:
            return channels, *size
    for channels in (3, 1):
        side = math.isqrt(count // channels)
        if side and channels * side * side == count:
            return channels, side, side
    return None
