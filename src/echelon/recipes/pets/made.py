"""Made photographs of made breeds, called as the public ones are, for tests and trials."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echelon.errors import EchelonError

BREEDS = ("Bull", "Pit_Bull", "Maine_Coon", "Great_Dane")
"""One is a part of another's name, as among the public ones."""
_GRID = 4
_SHORTEST, _LONGEST = 90, 140


def write_pets(folder: Path, breeds: Sequence[str] = BREEDS, each: int = 30, seed: int = 0) -> None:
    """Breed_name_N.jpg: `each` JPEGs of every breed, of several sizes.

    Each breed has colours and a fur of stripes of its own; light, place and noise differ from image to image.

    Raises:
        EchelonError: Pillow is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, breed in enumerate(breeds):
        for index in range(1, each + 1):
            (folder / f"{breed}_{index}.jpg").write_bytes(made_photograph(number, (seed, index)))


def made_photograph(breed: int, seed: tuple[int, int]) -> bytes:
    """A JPEG of a breed, given by its number.

    Raises:
        EchelonError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise EchelonError("made photographs need Pillow: pip install 'echelon[images]'") from None
    of_breed, random = np.random.default_rng((7, breed)), np.random.default_rng((*seed, breed))
    width, height = random.integers(_SHORTEST, _LONGEST, 2).tolist()
    colours = of_breed.uniform(70, 186, (_GRID, _GRID, 3)) + random.normal(0, 25, (_GRID, _GRID, 3))
    small = Image.fromarray(colours.clip(0, 255).astype(np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    rows, columns = np.mgrid[:height, :width]
    angle, wave = of_breed.uniform(0, np.pi), of_breed.uniform(4, 12)
    place = (rows * np.sin(angle) + columns * np.cos(angle)) * (2 * np.pi / wave) + random.uniform(0, 2 * np.pi)
    stripes = 35 * np.sin(place)[..., None] * of_breed.uniform(0.3, 1, 3)
    pixels = (smooth + stripes) * random.uniform(0.8, 1.2) + random.normal(0, 12, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, format="JPEG", quality=90)
    return file.getvalue()
