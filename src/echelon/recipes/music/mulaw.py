"""The μ-law: loudness in 256 steps that are finer where it is quiet, as the ear is.

The continuous law of ITU-T G.711 with μ = 255, quantised with fixed bins of equal width as in the WaveNet paper (van
den Oord et al., arXiv:1609.03499, section 2.2): the same number means the same pressure in every song.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CODES = 256
_MU = CODES - 1
_SIGN = np.uint32(1 << 31)
"""The bit of a float32 that says whether it is negative."""
SILENCE = 128
"""The code of 0."""


def encode(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The codes of samples, uint8 of the same shape: 0 for -1, 128 for 0, 255 for 1.

    samples: float32 in [-1, 1]; what lies outside counts as the nearest end.

    Raises:
        ValueError: one is no number.
    """
    x = np.asarray(samples, np.float32, order="C")
    scaled = np.abs(x)
    # A maximum is no number if one of them is none.
    loudest = scaled.max(initial=0)
    if np.isnan(loudest):
        raise ValueError(f"{np.isnan(x).sum()} of {x.size} samples are no numbers")
    if loudest > 1:
        np.minimum(scaled, 1, out=scaled)
    # In place, since an hour of sound is 230 MB. Not log1p: what it adds is far below a step.
    scaled *= np.float32(_MU)
    scaled += np.float32(1)
    np.log(scaled, out=scaled)
    scaled *= np.float32(_MU / 2 / np.log1p(_MU))
    # copysign, at a third of its time.
    scaled.view(np.uint32)[...] |= x.view(np.uint32) & _SIGN
    scaled += np.float32((_MU + 1) / 2)
    return scaled.astype(np.uint8)


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Samples in the middle of the steps of codes, float32 of the same shape: -1 for 0, 1 for 255. `encode` gives the
    same codes again.

    codes: integers from 0 to 255.
    """
    return _SAMPLES[np.asarray(codes)]


def _decoded() -> NDArray[np.float32]:
    compressed = 2 * np.arange(CODES) / _MU - 1
    return (np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(_MU)) / _MU).astype(np.float32)


_SAMPLES = _decoded()
