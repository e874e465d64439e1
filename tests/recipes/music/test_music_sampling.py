"""Songs by compiled code, held against the plain model: logits, draws, and that the same seed gives the same song."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from echelon.errors import EchelonError
from echelon.recipes.music import generation
from echelon.recipes.music.generation import follow, generate, songs_of
from echelon.recipes.music.kernel import BLOCK
from echelon.recipes.music.kernel import choose as choose_compiled
from echelon.recipes.music.lanes import LANES
from echelon.recipes.music.mulaw import SILENCE, decode
from echelon.recipes.music.packed import pack
from echelon.recipes.music.sampling import Drawing, StepByStep, choose, logits_of_window
from echelon.recipes.music.wav import wav_of
from echelon.recipes.music.wavenet import WaveNet
from echelon.world import threads

Codes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield


def network(seed: int = 0, scale: float = 2.0, **sizes: int) -> WaveNet:
    """With weights that are larger than new ones, so that gates and logits are."""
    torch.manual_seed(seed)
    model = WaveNet(**sizes).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(scale if name.endswith("weight") else 1.0)
    return model


def noise(songs: int, length: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (songs, length)).astype(np.uint8)


@torch.no_grad()
def by_the_model(model: WaveNet, song: Codes) -> NDArray[np.float32]:
    """The logits of each code of a song, in one uncached pass."""
    inputs = torch.from_numpy(np.concatenate([[SILENCE], song[:-1]]).astype(np.int64))
    return model(inputs[None])[0].T.numpy()


def test_the_logits_are_those_of_the_model_along_4000_codes():
    model, songs = network(), noise(1, 4000)
    wanted = by_the_model(model, songs[0])
    assert np.ptp(wanted) > 2
    np.testing.assert_allclose(follow(pack(model, "fp32"), songs)[0], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("heard", [1, 7, 100, 500])
def test_a_clip_leaves_what_a_song_would_to_the_bit(heard):
    """One that is shorter or longer than what the model looks back on."""
    model, songs = network(residual=12, skip=16, stacks=3, layers=6), noise(3, 600)
    songs[:, :heard] = songs[0, :heard]
    weights = pack(model, "fp32")
    assert 100 < model.receptive_field < 500
    np.testing.assert_array_equal(follow(weights, songs, heard), follow(weights, songs)[:, heard:])


@pytest.mark.parametrize(
    "sizes",
    [
        {"residual": 7, "skip": 19, "stacks": 1, "layers": 3},
        {"residual": 33, "skip": 5, "stacks": 3, "layers": 5},
        {"residual": LANES, "skip": 4 * LANES, "stacks": 1, "layers": 1},
        {"classes": 201, "residual": 4, "skip": 4, "stacks": 2, "layers": 2},
    ],
)
@pytest.mark.parametrize("songs", [1, 2, 5, 9])
def test_any_size_and_any_company(sizes, songs):
    """Channels that fill no register, no whole panel or more than one, and rings shorter than a block."""
    model = network(**sizes)
    codes = noise(songs, 6 * BLOCK + 3) % np.uint8(sizes.get("classes", 201))
    made = follow(pack(model, "fp32"), codes)
    for song, logits in zip(codes, made, strict=True):
        np.testing.assert_allclose(logits, by_the_model(model, song), atol=1e-4, rtol=0)


def test_rings_that_are_longer_than_the_song():
    model, songs = network(residual=8, skip=8, stacks=1, layers=14), noise(1, 40)
    np.testing.assert_allclose(follow(pack(model, "fp32"), songs)[0], by_the_model(model, songs[0]), atol=1e-4, rtol=0)


def test_gates_that_are_wide_open_or_shut():
    """Sums far outside of where tanh and sigmoid move."""
    model = network(scale=1.0, residual=16, skip=16, stacks=1, layers=4)
    with torch.no_grad():
        for block in model.blocks:
            block.gate.weight.mul_(300)
            block.gate.bias.mul_(1000)
    songs = noise(1, 300)
    np.testing.assert_allclose(follow(pack(model, "fp32"), songs)[0], by_the_model(model, songs[0]), atol=1e-4, rtol=0)


def test_weights_of_half_the_size_are_rounded_to_the_nearest():
    """The very logits of a model whose matrices are bfloat16 numbers, and not far from those of the model."""
    model, songs = network(), noise(2, 600)
    rounded = network()
    with torch.no_grad():
        for name, weight in rounded.named_parameters():
            if name.endswith("weight") and not name.startswith("embed"):
                weight.copy_(weight.to(torch.bfloat16).float())
    made = follow(pack(model, "bf16"), songs)
    np.testing.assert_allclose(made[1], by_the_model(rounded, songs[1]), atol=1e-4, rtol=0)
    error = np.abs(made[0] - by_the_model(model, songs[0])).max()
    assert 1e-4 < error < 0.05 * np.ptp(made)


def test_step_by_step_is_the_model_too():
    model, song = network(residual=12, skip=9, stacks=2, layers=4), noise(1, 200)[0]
    one = StepByStep(model)
    made = [one.feed(int(code)).numpy() for code in np.concatenate([[SILENCE], song[:-1]])]
    np.testing.assert_allclose(np.stack(made), by_the_model(model, song), atol=1e-4, rtol=0)
    window = torch.from_numpy(np.concatenate([[SILENCE], song]).astype(np.int64))
    np.testing.assert_allclose(logits_of_window(model, window), one.feed(int(song[-1])), atol=1e-4, rtol=0)


def test_the_song_is_what_drawing_code_by_code_gives():
    model, drawing = network(seed=3, residual=16, skip=16, stacks=2, layers=4), Drawing(seed=5, temperature=0.8)
    one, code, song = StepByStep(model), SILENCE, []
    for uniform in drawing.uniforms(0, 0, 400):
        code = choose(one.feed(code).numpy(), float(uniform), drawing)
        song.append(code)
    made = generate(model, 400, seed=5, temperature=0.8)
    assert made.dtype == np.uint8
    assert len(np.unique(made)) > 20
    assert np.mean(made == song) > 0.99


def test_the_same_seed_gives_the_same_song_in_any_company_and_on_any_thread():
    model, drawing = network(residual=16, skip=32, stacks=2, layers=5), Drawing(seed=2)
    weights = pack(model, "fp32")
    alone = [songs_of(weights, [number], 1500, drawing)[0] for number in range(5)]
    together = songs_of(weights, [4, 2, 0, 1, 3], 1500, drawing)
    with ThreadPoolExecutor(4) as pool:
        on_threads = list(pool.map(lambda number: songs_of(weights, [number], 1500, drawing)[0], range(5)))
    for number, song in enumerate(alone):
        np.testing.assert_array_equal(song, together[[4, 2, 0, 1, 3].index(number)])
        np.testing.assert_array_equal(song, on_threads[number])
    assert not np.array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[0], generate(model, 1500, seed=3))
    np.testing.assert_array_equal(alone[0], generate(model, 1500, seed=2))


def test_a_song_does_not_depend_on_how_much_of_it_is_made_at_once(monkeypatch):
    model = network(residual=8, skip=8, stacks=1, layers=4)
    heard: list[int] = []
    whole = generate(model, 500, progress=heard.append)
    assert heard == [500]
    monkeypatch.setattr(generation, "_AT_ONCE", 67)
    np.testing.assert_array_equal(generate(model, 500, progress=heard.append), whole)
    assert heard[1:] == [67, 134, 201, 268, 335, 402, 469, 500]


def test_a_song_goes_on_from_a_clip():
    """As it would have after these codes, had it made them itself."""
    model = network(residual=16, skip=16, stacks=2, layers=5)
    start = noise(1, 700)[0]
    song = generate(model, 200, temperature=0, start=start)
    whole = np.concatenate([start, song])
    np.testing.assert_array_equal(song, by_the_model(model, whole)[len(start) :].argmax(1))
    assert not np.array_equal(song, generate(model, 200, temperature=0))


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("top_k", [None, 1, 5, 255])
def test_draws_are_those_of_the_oracle(temperature, top_k):
    random = np.random.default_rng(0)
    drawing, scratch = Drawing(0, temperature, top_k), np.zeros(256, np.float32)
    agree = 0
    for uniform in (*random.uniform(size=300), 0.0, 1 - 2**-24):
        logits = random.normal(0, 3, 256).astype(np.float32)
        code = choose_compiled(logits, len(logits), np.float32(uniform), temperature, top_k or 256, scratch)
        assert (logits > logits[code]).sum() < (top_k or 256)
        agree += code == choose(logits, float(np.float32(uniform)), drawing)
    # A draw may fall just between two codes.
    assert agree >= 301


def test_codes_come_as_often_as_they_are_probable():
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125] + [1e-9] * 12, np.float32))
    scratch = np.zeros(16, np.float32)
    counts = np.bincount(
        [choose_compiled(logits, len(logits), u, 1.0, 16, scratch) for u in np.float32((np.arange(4000) + 0.5) / 4000)]
    )
    np.testing.assert_allclose(counts[:4], [2000, 1000, 500, 500], atol=2)


def test_of_equals_the_lower_codes_are_left():
    logits, scratch = np.array([1, 3, 2, 2, 2, 3, 0, 2], np.float32), np.zeros(16, np.float32)
    found = {choose_compiled(logits, len(logits), u, 1.0, 4, scratch) for u in np.float32(np.linspace(0, 0.999, 200))}
    assert found == {1, 2, 3, 5}
    assert found == {choose(logits, u, Drawing(top_k=4)) for u in np.linspace(0, 0.999, 200)}


@pytest.mark.parametrize("temperature", [0.0, 1e-9])
def test_without_temperature_the_most_probable_code_comes(temperature):
    model = network(residual=8, skip=8, stacks=1, layers=4)
    song = generate(model, 100, temperature=temperature)
    np.testing.assert_array_equal(song, by_the_model(model, song).argmax(1))


@pytest.mark.parametrize("classes", [1, 7, 16, 48, 96, 250, 256])
def test_of_any_number_of_codes_the_most_probable_is_found(classes):
    random = np.random.default_rng(classes)
    for _ in range(20):
        logits = random.normal(-500, 100, classes).astype(np.float32)
        left = np.full(-(-classes // LANES) * LANES, 9.0, np.float32)
        assert choose_compiled(logits, classes, np.float32(0.5), 0.0, classes, left) == logits.argmax()


def test_a_low_temperature_nears_the_most_probable_code():
    random, scratch = np.random.default_rng(1), np.zeros(256, np.float32)
    for _ in range(50):
        logits = random.normal(0, 1, 256).astype(np.float32)
        logits[random.integers(256)] = 6
        assert choose_compiled(logits, len(logits), np.float32(random.uniform()), 0.02, 256, scratch) == logits.argmax()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"temperature": -0.5}, "temperature must be a number of at least 0, got -0.5"),
        ({"temperature": math.nan}, "got nan"),
        ({"top_k": 0}, "top-k 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**63}, "at most 9223372036854775807, got 9223372036854775808"),
    ],
)
def test_draws_that_make_no_sense_are_refused(arguments, said):
    with pytest.raises(EchelonError, match=said):
        Drawing(**arguments)


def test_a_model_that_has_diverged_is_refused():
    model = network(residual=8, skip=8, stacks=1, layers=2)
    with torch.no_grad():
        model.mix.weight[0, 0] = math.nan
    with pytest.raises(EchelonError, match=r"mix\.weight are not finite"):
        generate(model, 10)
    model = network(residual=8, skip=8, stacks=1, layers=2)
    with torch.no_grad():
        model.mix.weight.fill_(1e30)
        model.out.weight.fill_(1e30)
    with pytest.raises(EchelonError, match="training has diverged"):
        generate(model, 10)


def test_a_wav_file_has_16_bits_and_stays_in_range():
    """All codes, the loudest too; read by the standard library."""
    codes = np.arange(256, dtype=np.uint8)
    with wave.open(io.BytesIO(wav_of(codes, 16_000))) as file:
        assert (file.getsampwidth(), file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 1, 16_000, 256)
        samples = np.frombuffer(file.readframes(256), "<i2").astype(int)
    assert (np.diff(samples) >= 0).all()
    assert samples[0] == -32_768
    assert samples[-1] == 32_767
    np.testing.assert_allclose(samples / 32_768, decode(codes), atol=1.01 / 32_768)


@pytest.mark.slow
def test_songs_are_made_where_nothing_can_be_kept_on_the_disk():
    script = (
        "import numba.core.caching as caching, torch\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from echelon.recipes.music.generation import generate\n"
        "from echelon.recipes.music.wavenet import WaveNet\n"
        "torch.manual_seed(0)\n"
        "print(generate(WaveNet(residual=8, skip=8, stacks=1, layers=2).eval(), 5).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    assert json.loads(done.stdout) == generate(WaveNet(residual=8, skip=8, stacks=1, layers=2).eval(), 5).tolist()
