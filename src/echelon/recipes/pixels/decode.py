"""Compressed images to pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray

from echelon.errors import EchelonError
from echelon.recipes.pixels.resize import resized

try:
    from PIL import Image
except ImportError:
    Image = None  # type: ignore[assignment]

Pixels = NDArray[np.uint8]
"""Of one image [C, H, W], or of several [n, C, H, W]."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_NO_PILLOW = "decoding images needs Pillow: pip install 'echelon[images]'"


class BrokenImage(Exception):
    """The bytes are no image that can be decoded whole. The message says why."""


def decode(data: bytes, size: tuple[int, int]) -> tuple[Pixels, bool]:
    """An image as RGB, uint8 [3, H, W], and whether it was anything else in the file (grey, CMYK, palette, alpha).

    It is stretched to `size` (height, width), as in the original preparation of ImageNet for Caffe; one of this size is
    left as it is. Transparent pixels are laid on black.

    Raises:
        BrokenImage: the bytes are empty, cut off, no image, or one of absurd size.
        EchelonError: Pillow is not installed.
    """
    if Image is None:
        raise EchelonError(_NO_PILLOW)
    if not data:
        raise BrokenImage("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            with Image.open(io.BytesIO(data)) as image:
                converted = image.mode != "RGB"
                image.draft("RGB", (size[1], size[0]))
                pixels = resized(_on_black(image) if converted else image, size)
    except Exception as error:  # Pillow's decoders raise whatever their format's parser meets.
        raise BrokenImage(str(error) or type(error).__name__) from None
    return pixels, converted


def stretched(pixels: Pixels, size: tuple[int, int]) -> tuple[Pixels, bool]:
    """Pixels, uint8 [1 or 3, H, W], grey or RGB, as `decode` gives them.

    Raises:
        BrokenImage: there are none. EchelonError: Pillow is not installed.
    """
    if not pixels.size:
        raise BrokenImage("it has no pixels")
    if pixels.shape == (3, *size):
        return pixels, False
    grey = len(pixels) == 1
    if pixels.shape[1:] == size:
        return np.repeat(pixels, 3, axis=0), grey
    if Image is None:
        raise EchelonError(_NO_PILLOW)
    image = Image.fromarray(pixels[0] if grey else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return resized(image.convert("RGB"), size), grey


def _on_black(image: Image.Image) -> Image.Image:
    """Any mode as RGB."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        # Pillow would clip 16 bits at 255. Its mode I is 32 bits, in which either range is kept.
        if image.mode.startswith("I;16") or (image.mode == "I" and values.max() > 255):
            values = values * (255 / 65535)
            return Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)).convert("RGB")
        return Image.fromarray(as_bytes(values)).convert("RGB")
    return image.convert("RGB")


def as_bytes(values: NDArray) -> Pixels:
    """Numbers of 0 to 255, rounded to uint8, of the same shape.

    Raises:
        BrokenImage: numbers are below 0, above 255 or none, or all are fractions of 0 to 1 and would become black.
    """
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8, copy=False)
    least, most = values.min(), values.max()
    # Written so that what is no number is refused too.
    if not (least >= 0 and most <= 255):
        raise BrokenImage(f"its numbers, {least:g} to {most:g}, are no pixels of 0 to 255")
    whole = np.rint(values)
    if most <= 1 and (whole != values).any():
        raise BrokenImage(f"its numbers, {least:g} to {most:g}, are fractions, not pixels of 0 to 255: multiply by 255")
    return whole.astype(np.uint8)
