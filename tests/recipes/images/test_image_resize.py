"""Our resize beside Pillow's, whose filter it is."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from echelon.recipes.pixels.resize import resized

SIZES = {
    "smaller": ((375, 500), (256, 256)),
    "larger": ((20, 31), (64, 64)),
    "one side smaller, one larger": ((300, 40), (96, 128)),
    "little": ((257, 255), (256, 256)),
    "to one pixel": ((5, 5), (1, 1)),
    "from one pixel": ((1, 1), (7, 5)),
    "just not averaged before": ((383, 383), (64, 64)),
    "averaged before": ((900, 801), (64, 80)),
}


def noise(height, width):
    rng = np.random.default_rng(height * 10_000 + width)
    smooth = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BILINEAR), np.int16)
    return (soft + rng.normal(0, 20, soft.shape)).clip(0, 255).astype(np.uint8)


def by_pillow(image, size):
    """Pillow itself, first along the rows and then along the columns; the order that it prefers is its own affair."""
    height, width = size
    if max(image.height / height, image.width / width) >= 6:
        shrunk = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    else:
        along = image.resize((width, image.height), Image.Resampling.BICUBIC)
        shrunk = along.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(shrunk).transpose(2, 0, 1)


@pytest.mark.parametrize(("before", "after"), SIZES.values(), ids=SIZES)
def test_the_filter_is_pillows(before, after):
    image = Image.fromarray(noise(*before))
    found = resized(image, after)
    assert (found.dtype, found.shape) == (np.uint8, (3, *after))
    apart = np.abs(found.astype(int) - by_pillow(image, after))
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.01


def test_images_of_few_pixels_are_no_exceptions():
    for before in product(range(1, 5), repeat=2):
        image = Image.fromarray(noise(*before))
        for after in product(range(1, 5), repeat=2):
            apart = np.abs(resized(image, after).astype(int) - by_pillow(image, after))
            assert apart.max() <= 2, (before, after)


def test_edges_of_black_and_white_do_not_leave_the_range():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    found = resized(Image.fromarray(pixels), (64, 64))
    assert found[:, :, :20].max() <= 2
    assert found[:, :, -20:].min() >= 253


def test_an_image_of_the_right_size_is_left_as_it_is():
    pixels = noise(6, 9)
    assert (resized(Image.fromarray(pixels), (6, 9)) == pixels.transpose(2, 0, 1)).all()
