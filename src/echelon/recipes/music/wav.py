"""Codes as a WAV file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.music.audio import check_decoders
from echelon.recipes.music.mulaw import decode

MOST_SAMPLES = ((1 << 32) - 1024) // 2
"""Of a file, in whose header sizes in bytes have 32 bits."""


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
