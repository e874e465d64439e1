"""One song by guesses and their check is the song of the kernel, to the bit, however good the guesses are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numba import njit

from echelon.recipes.music import eight_bits, voices
from echelon.recipes.music.drafting import DRAFT
from echelon.recipes.music.generation import generate, songs_of
from echelon.recipes.music.lanes import LANES, PANEL
from echelon.recipes.music.mulaw import SILENCE
from echelon.recipes.music.packed import Weights, pack
from echelon.recipes.music.sampling import Drawing
from echelon.recipes.music.voices import Alone, Together, drafts_pay, voice_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.world import threads

pytestmark = pytest.mark.skipif(not eight_bits.AVAILABLE, reason="this processor has no VNNI")


def network(scale: float = 2.0, **sizes: int) -> WaveNet:
    torch.manual_seed(0)
    model = WaveNet(**sizes).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(scale if name.endswith("weight") else 1.0)
    return model


def begun(length: int) -> np.ndarray:
    codes = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8)
    return np.concatenate([[SILENCE], codes]).astype(np.uint8)


def both(weights: Weights, samples: list[int], drawing: Drawing, heard: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A song by guesses and one without, made in pieces."""
    songs = []
    for voice in (Alone(weights, begun(heard)), Together(weights, 1, begun(heard))):
        ends = np.cumsum([0, *samples])
        parts = [voice.sing(drawing.uniforms(0, a, b)[None], drawing)[0] for a, b in pairwise(ends)]
        songs.append(np.concatenate(parts))
    return songs[0], songs[1]


@pytest.mark.parametrize(
    ("sizes", "scale"),
    [
        ({}, 1.0),
        ({}, 2.0),
        ({"residual": 12, "skip": 20, "stacks": 3, "layers": 6}, 3.0),
        ({"residual": 32, "skip": 64, "stacks": 1, "layers": 7}, 2.0),
        ({"residual": 8, "skip": 300, "stacks": 2, "layers": 1}, 2.0),
    ],
)
def test_guesses_change_no_bit(sizes, scale):
    weights = pack(network(scale, **sizes), "fp32")
    with_them, without = both(weights, [700], Drawing(seed=4))
    np.testing.assert_array_equal(with_them, without)
    assert len(set(without)) > 50


@pytest.mark.parametrize("drawing", [Drawing(temperature=0), Drawing(temperature=0.5), Drawing(top_k=3), Drawing(9)])
def test_they_draw_alike_in_every_way(drawing):
    """In pieces that are no multiples of a draft too."""
    weights = pack(network(residual=16, skip=32, stacks=2, layers=6), "fp32")
    with_them, without = both(weights, [1, 100, DRAFT, 7, 300], drawing)
    np.testing.assert_array_equal(with_them, without)


@pytest.mark.parametrize("heard", [1, DRAFT, 40, 700])
def test_they_go_on_from_a_clip(heard):
    """Also one that is longer than all that the network looks back on."""
    model = network(residual=16, skip=32, stacks=2, layers=6)
    assert 100 < model.receptive_field < 700
    weights = pack(model, "fp32")
    with_them, without = both(weights, [200], Drawing(seed=1), heard)
    np.testing.assert_array_equal(with_them, without)
    assert not np.array_equal(with_them, both(weights, [200], Drawing(seed=1))[0])


def test_wrong_guesses_cost_only_time():
    weights = pack(network(residual=16, skip=32, stacks=2, layers=6), "fp32")
    rubbish = np.random.default_rng(0).integers(0, 2**8, len(weights.rough)).astype(np.uint32)
    with_them, without = both(weights._replace(rough=rubbish), [300], Drawing())
    np.testing.assert_array_equal(with_them, without)


def test_they_are_made_where_one_song_waits_for_its_weights(monkeypatch):
    large, small = pack(network(), "fp32"), pack(network(residual=8, skip=8), "fp32")
    monkeypatch.setattr(voices, "_second_level", lambda: 1 << 20)
    assert drafts_pay(large)
    assert not drafts_pay(small)
    assert isinstance(voice_of(large, 1, begun(0)), Alone)
    assert isinstance(voice_of(large, 2, begun(0)), Together)
    assert not drafts_pay(pack(network(), "bf16"))


def test_a_song_alone_is_the_same_as_in_company(monkeypatch):
    model, drawing = network(residual=16, skip=32, stacks=2, layers=5), Drawing(seed=2)
    weights = pack(model, "fp32")
    together = songs_of(weights, [0, 1, 2], 1500, drawing)
    monkeypatch.setattr(voices, "_second_level", lambda: 0)
    for number in range(3):
        np.testing.assert_array_equal(songs_of(weights, [number], 1500, drawing)[0], together[number])
    with threads(1):
        np.testing.assert_array_equal(generate(model, 1500, seed=2), together[0])


@njit
def _product(w, x, width, space, y, outputs):  # type: ignore[no-untyped-def]
    return eight_bits.multiply_bytes(w, x, width, space, y, outputs)


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_a_product_is_that_of_the_rounded_numbers(panels):
    random, width = np.random.default_rng(panels), 3 * LANES
    matrix = random.normal(size=(panels * PANEL, width)).astype(np.float32)
    matrix[0] = 0
    matrix[1] *= 1e4
    x = (random.normal(size=width) * 0.01).astype(np.float32)
    packed = eight_bits.pack_bytes([matrix])
    y, space = np.ones(panels * PANEL, np.float32), np.empty(width, np.uint8)
    address = packed.ctypes.data
    end = _product(address, x.ctypes.data, width, space.ctypes.data, y.ctypes.data, len(y))
    assert end - address == packed.nbytes
    scales = np.abs(matrix).max(1, keepdims=True) / 127
    whole = np.rint(np.divide(matrix, scales, where=scales > 0, out=np.zeros_like(matrix)))
    step = np.abs(x).max() / 127
    wanted = 1 + ((whole * scales).astype(np.float64) @ (np.floor(x / step + 0.5) * step))
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(y - 1, matrix.astype(np.float64) @ x, atol=0.02 * scales.max() * 127 * np.abs(x).sum())


def test_zeros_give_zeros():
    matrix = np.ones((PANEL, LANES), np.float32)
    packed, x = eight_bits.pack_bytes([matrix]), np.zeros(LANES, np.float32)
    y, space = np.zeros(PANEL, np.float32), np.empty(LANES, np.uint8)
    _product(packed.ctypes.data, x.ctypes.data, LANES, space.ctypes.data, y.ctypes.data, PANEL)
    np.testing.assert_array_equal(y, 0)
