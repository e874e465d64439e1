"""The μ-law, and windows of codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.errors import EchelonError
from echelon.recipes.music.mulaw import CODES, SILENCE, decode, encode
from echelon.recipes.music.options import PrepareOptions
from echelon.recipes.music.windows import Window, pairs_of, windows_of


def slow_code(sample: float) -> float:
    """The code of a sample before rounding, by the formula of the WaveNet paper."""
    x = min(1.0, max(-1.0, sample))
    compressed = math.copysign(math.log1p(255 * abs(x)) / math.log1p(255), x)
    return (compressed + 1) / 2 * 255 + 0.5


def test_each_code_comes_back() -> None:
    """Trap: ids that differ by one between training and generation."""
    codes = np.arange(CODES, dtype=np.uint8)
    assert encode(decode(codes)).tolist() == codes.tolist()
    assert decode(codes).dtype == np.float32
    assert (np.diff(decode(codes)) > 0).all()
    assert decode(np.array([0, 255])).tolist() == [-1, 1]


def test_codes_are_those_of_the_formula() -> None:
    """Trap: bins that each song has of its own."""
    random = np.random.default_rng(0)
    samples = np.concatenate([random.uniform(-1.2, 1.2, 20_000), 10.0 ** random.uniform(-8, 0, 20_000)])
    samples = samples.astype(np.float32)
    wanted = np.array([slow_code(float(sample)) for sample in samples])
    # float32 may fall to the other side of an edge, but only there.
    assert (np.abs(encode(samples) + 0.5 - wanted) <= 0.5 + 1e-4).all()
    assert encode(np.array([0, -0.0, 5, -5, np.inf], np.float32)).tolist() == [SILENCE, SILENCE, 255, 0, 255]


def test_a_sample_comes_back_within_its_step() -> None:
    samples = np.linspace(-1, 1, 10_001, dtype=np.float32)
    step = (np.abs(samples) + 1 / 255) * math.log(256) / 127.5
    assert (np.abs(decode(encode(samples)) - samples) <= 0.52 * step).all()


def test_what_is_no_number_has_no_code() -> None:
    with pytest.raises(ValueError, match="1 of 3 samples"):
        encode(np.array([0, np.nan, 1], np.float32))
    assert encode(np.empty(0, np.float32)).shape == (0,)
    assert encode(np.zeros((2, 3), np.float32)[:, ::2]).tolist() == [[SILENCE] * 2] * 2, "of any layout"


def pieces_of(codes: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Codes in pieces of these sizes, in turn."""
    pieces, start = [], 0
    while start < len(codes):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(codes[start : start + size])
        start += max(size, 1) if any(sizes) else len(codes)
    return pieces


def own(window: Window) -> np.ndarray:
    return window.samples[window.context :]


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(0, 300),
    window=st.integers(1, 80),
    context=st.integers(1, 120),
    sizes=st.lists(st.integers(1, 97), min_size=1, max_size=4),
)
def test_every_code_is_one_windows_own(length: int, window: int, context: int, sizes: list[int]) -> None:
    codes = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8)
    windows = list(windows_of(pieces_of(codes, sizes), window, context))
    assert np.array_equal(np.concatenate([np.empty(0, np.uint8), *map(own, windows)]), codes)
    for number, one in enumerate(windows):
        assert one.offset == number * window
        assert one.context == min(context, one.offset)
        assert np.array_equal(one.samples, codes[one.offset - one.context : one.offset + window]), "what comes before"
    assert all(len(own(one)) == window for one in windows[:-1])
    pairs = np.zeros((CODES, CODES), np.int64)
    for before, code in zip([SILENCE, *codes.tolist()], codes.tolist()):
        pairs[before, code] += 1
    found = pairs_of([one.samples for one in windows], [one.context for one in windows])
    assert np.array_equal(found, pairs)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"rate": 10}, "--rate"),
        ({"window": 0}, "--window"),
        ({"context": 0}, "--context"),
        ({"test_fraction": 1.0}, "--test-fraction"),
        ({"from_second": -1.0}, "--from-second"),
        ({"seconds": 0.0}, "--seconds"),
        ({"min_seconds": math.nan}, "--min-seconds"),
        ({"formats": "mp3,exe"}, "--formats.*'exe'"),
        ({"compression": "gzip"}, "--compression"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict, flag: str) -> None:
    with pytest.raises(EchelonError, match=flag):
        PrepareOptions(**wrong)
