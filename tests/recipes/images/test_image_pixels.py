"""Numbers that are pixels, and such as only seem to be."""

import io

import numpy as np
import pytest
from PIL import Image

from echelon.recipes.images.raw import as_pixels
from echelon.recipes.pixels.decode import BrokenImage, decode

SIZE = (4, 6)
RAMP = np.linspace(0, 255, 24).astype(np.uint8).reshape(SIZE)


def tiff(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="TIFF")
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_numbers_of_0_to_255_are_pixels_whatever_their_type(dtype):
    found = as_pixels(RAMP.astype(dtype).ravel(), (1, *SIZE))
    assert found.dtype == np.uint8
    assert (found[0] == RAMP).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP / 255, "0 to 1, are fractions, not pixels of 0 to 255: multiply by 255"),
        (RAMP / 512, "are fractions"),
        (RAMP / 255 - 0.5, "-0.5 to 0.5, are no pixels"),
        (RAMP * 2.0, "0 to 510, are no pixels"),
        (np.where(RAMP > 99, np.nan, RAMP), "are no pixels"),
        (RAMP - np.inf, "are no pixels"),
    ],
)
def test_fractions_and_other_numbers_are_refused_instead_of_becoming_black(values, message):
    for broken in (
        lambda: as_pixels(values.ravel(), (1, *SIZE)),
        lambda: decode(tiff(values.astype(np.float32)), SIZE),
    ):
        with pytest.raises(BrokenImage, match=message):
            broken()


@pytest.mark.parametrize(
    "values",
    [RAMP.astype(np.int32), RAMP.astype(np.float32), RAMP.astype(np.uint16) * 257, RAMP.astype(np.int32) * 257],
    ids=["32 bits of 0 to 255", "floats of 0 to 255", "16 bits", "32 bits of 0 to 65535"],
)
def test_grey_files_of_more_bits_keep_their_brightness(values):
    pixels, converted = decode(tiff(values), SIZE)
    assert converted
    assert (pixels == RAMP).all()


def test_black_and_white_are_no_fractions():
    mask = (RAMP > 99).astype(np.float32)
    assert (as_pixels(mask.ravel(), (1, *SIZE))[0] == mask).all()
    assert (decode(tiff(np.zeros(SIZE, np.float32)), SIZE)[0] == 0).all()
