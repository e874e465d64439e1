"""The breed of an image by the name of its file, as the Oxford-IIIT Pet dataset names them.

Source: Parkhi, Vedaldi, Zisserman, Jawahar: "Cats and Dogs", CVPR 2012. Files are called Breed_name_N.jpg.
"""

from __future__ import annotations

import re
import unicodedata

_NAME = re.compile(r"(?P<breed>.*[^_])_+\d+\.[A-Za-z0-9]+", re.DOTALL)


def breed_of(path: str) -> str | None:
    """The name of a file without the last _N and the ending, whatever folders it lies in; None if it has no such name.

    Breeds are compared as whole names: one may be a part of another's, as Bull in Pit_Bull. Accents are composed (NFC),
    since some systems write them as characters of their own, and one breed would be two that look alike.
    """
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return unicodedata.normalize("NFC", match["breed"]) if match else None
