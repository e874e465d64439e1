"""Codes as a WAV file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.music.audio import check_decoders
from echelon.recipes.music.mulaw import decode


def wav_of(codes: NDArray[np.uint8], rate: int) -> bytes:
    """A mono WAV file of 16 bits. rate: samples a second.

    Raises:
        EchelonError: soundfile is not installed.
    """
    check_decoders()
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, decode(codes), rate, subtype="PCM_16", format="WAV")
    return file.getvalue()
