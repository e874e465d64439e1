"""What the two trivial predictors of music reach, against definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_windows import noise, pairs_by_hand, tones

from echelon.recipes.music.baselines import (
    ACCURACY,
    BITS,
    FREQUENCY,
    PREVIOUS,
    baseline_of,
    packed,
    unpacked,
)
from echelon.recipes.music.mulaw import CODES


def test_frequencies_are_counted_with_one_added() -> None:
    known, there = np.zeros((2, CODES, CODES), np.int64)
    known[5, 6], known[6, 5] = 30, 10
    there[6, 5], there[7, 9] = 3, 1
    reached = baseline_of(known, there)
    expected = -(3 * math.log2(11 / (40 + 256)) + math.log2(1 / (40 + 256))) / 4
    assert reached[FREQUENCY] == pytest.approx(expected)


def test_codes_after_each_other_are_mixed_with_all_as_suits_training_best() -> None:
    """Against a plain search over how much all count, each pair predicted from those before and behind it."""
    known, there = pairs_by_hand(tones(2, 400)), pairs_by_hand(tones(1, 200, seed=1))
    frequency = (known.sum(0) + 1) / (known.sum() + CODES)

    def left_out(strength: float) -> float:
        total = 0.0
        for before, code in np.argwhere(known):
            times = known[before, code]
            others = (times - 1 + strength * frequency[code]) / (known[before].sum() - 1 + strength)
            total += times * math.log(others)
        return total

    strength = max(2.0 ** np.arange(-2, 13), key=left_out)
    bits = 0.0
    for before, code in np.argwhere(there):
        probability = (known[before, code] + strength * frequency[code]) / (known[before].sum() + strength)
        bits -= there[before, code] * math.log2(probability)
    reached = baseline_of(known, there)
    assert reached[PREVIOUS] == pytest.approx(bits / there.sum())
    assert reached[BITS] == min(reached[PREVIOUS], reached[FREQUENCY]) == reached[PREVIOUS]


def test_probabilities_add_up_to_one() -> None:
    """A predictor that gave away more than it has would be no baseline: each code once after the most frequent one."""
    known = pairs_by_hand(tones(2, 400))
    before, total = int(known.sum(1).argmax()), 0.0
    for code in range(CODES):
        there = np.zeros((CODES, CODES), np.int64)
        there[before, code] = 1
        total += 2.0 ** -baseline_of(known, there)[PREVIOUS]
    assert total == pytest.approx(1)


def test_noise_takes_eight_bits_however_little_was_counted() -> None:
    reached = baseline_of(pairs_by_hand(noise(3, 500)), pairs_by_hand(noise(3, 500, seed=1)))
    assert 8 <= reached[BITS] < 8.2
    assert reached[ACCURACY] < 0.02


def test_counts_are_stored_as_a_text() -> None:
    counts = pairs_by_hand(tones(2, 400))
    counts[3, 4] = 2**40
    assert np.array_equal(unpacked(packed(counts)), counts)
    assert packed(counts).isascii()


def test_counting_finds_neither_what_is_in_the_split_alone() -> None:
    """What was counted are the training codes: a code that only the test has is a surprise."""
    known, there = np.zeros((2, CODES, CODES), np.int64)
    known[1, 1], there[2, 2] = 1000, 1000
    assert baseline_of(known, there)[BITS] > 8
