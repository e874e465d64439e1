"""Pixels at another size, by the bicubic filter that Pillow has, in torch's vectorised kernel for bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from PIL import Image

REDUCING_GAP = 3.0
"""An image that is shrunk by twice as much, or more, is first averaged over boxes; see `PIL.Image.Image.resize`."""


def resized(rgb: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An RGB image as uint8 [3, H, W], stretched to `size` (height, width); one of this size is left as it is.

    The filter is antialiased (Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -0.5).
    What it gives is Pillow's BICUBIC, first along the rows and then along the columns, but for the last bits of the
    weights, so few numbers differ, by 1 or 2 of 255.
    """
    height, width = size
    if rgb.size == (width, height):
        return np.asarray(rgb).transpose(2, 0, 1)
    # Where a side has one pixel, torch cannot tell in which order the numbers lie, and not all its kernels guess right.
    if min(*rgb.size, *size) == 1 or max(rgb.width / width, rgb.height / height) >= 2 * REDUCING_GAP:
        from PIL import Image

        shrunk = rgb.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
        return np.asarray(shrunk).transpose(2, 0, 1)
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
    return interpolate(pixels[None], (height, width), mode="bicubic", align_corners=False, antialias=True)[0].numpy()
