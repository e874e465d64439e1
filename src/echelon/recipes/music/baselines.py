"""What predictors reach that know no more of a code than how frequent it is, or than the one before it.

Both have only counted pairs of neighbouring codes in training. Bits are those of each code, the base-2 logarithm of one
over the probability that it was given.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.music.mulaw import CODES

Counts = NDArray[np.int64]
"""How often a code followed another, [256, 256], by the code before and the code."""

BITS, ACCURACY = "bits", "accuracy"
FREQUENCY, PREVIOUS = "bits_of_frequency", "bits_of_previous_code"
_STRENGTHS = 2.0 ** np.arange(-2, 13)


def baseline_of(known: Counts, there: Counts) -> dict[str, float]:
    """What both predictors reach, of which the better is the one to beat.

    The frequencies are those of training, with one added to each count. After each code their own frequencies are
    mixed with these, as if so many more codes had followed it that were dealt as in training; how many suits the
    training codes best, each predicted from all others.

    Args:
        known: in training. there: what is measured; not all 0.

    Returns: "bits", "accuracy", those of the better predictor; "bits_of_frequency" and "bits_of_previous_code".
    """
    frequency = _smoothed(known.sum(0))
    after = _after(known, frequency, _strength(known, frequency))
    bits = {
        FREQUENCY: _bits(there, np.broadcast_to(np.log2(frequency), there.shape)),
        PREVIOUS: _bits(there, np.log2(after)),
    }
    right = max(there[:, frequency.argmax()].sum(), there[np.arange(CODES), after.argmax(1)].sum())
    return {BITS: min(bits.values()), ACCURACY: float(right / there.sum()), **bits}


def packed(counts: Counts) -> str:
    """Counts as a text that a run can store."""
    return base64.b64encode(zlib.compress(counts.astype("<i8").tobytes(), 9)).decode()


def unpacked(text: str) -> Counts:
    """The counts of `packed`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8").reshape(CODES, CODES).astype(np.int64)


def _smoothed(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return (counts + 1) / (counts.sum() + CODES)


def _after(known: Counts, frequency: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """The probability of each code after each other one, [256, 256]."""
    return (known + strength * frequency) / (known.sum(1, keepdims=True) + strength)


def _strength(known: Counts, frequency: NDArray[np.float64]) -> float:
    """How many codes the frequencies count for, by the likelihood of each pair of training under all others."""
    before, code = known.nonzero()
    times, rows, usual = known[before, code], known.sum(1)[before], frequency[code]

    def likelihood(strength: float) -> float:
        return float((times * np.log((times - 1 + strength * usual) / (rows - 1 + strength))).sum())

    return max(_STRENGTHS.tolist(), key=likelihood)


def _bits(there: Counts, logarithms: NDArray[np.float64]) -> float:
    return float(-(there * logarithms).sum() / there.sum())
