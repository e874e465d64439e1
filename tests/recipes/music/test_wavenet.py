"""WaveNet: what each prediction has seen, against the formulas of the paper and by changing what it may not see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.recipes.music import wavenet
from echelon.recipes.music.layers import spans_of
from echelon.recipes.music.mulaw import SILENCE
from echelon.recipes.music.wavenet import Block, WaveNet

CLASSES = 16
SIZES = [(1, 1), (1, 4), (2, 3), (3, 2)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Nothing here is large enough to be shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net(stacks: int = 2, layers: int = 4, residual: int = 5, skip: int = 7) -> WaveNet:
    """In double precision, so that a change that arrives after many layers is still one."""
    torch.manual_seed(0)
    return WaveNet(CLASSES, residual, skip, stacks, layers).double().eval()


def codes(rows: int, length: int) -> Tensor:
    return torch.randint(0, CLASSES, (rows, length), generator=torch.Generator().manual_seed(1))


@contextmanager
def by_convolutions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a GPU: by torch's own convolutions and its own backward pass."""
    with monkeypatch.context() as patch:
        patch.setattr(wavenet, "_on_processor", lambda x: False)
        yield


def by_the_paper(model: WaveNet, given: Tensor) -> Tensor:
    """The logits after each code, one position and one tap after the other, as equation 2 and figure 4 of the paper
    say; float64 [n, classes, t].
    """

    def product(layer: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(layer, nn.Conv1d)
        assert layer.bias is not None
        return layer.weight[:, :, 0] @ x + layer.bias

    rows = []
    for row in given:
        inputs = [model.embed.weight[code] for code in row]
        sums = [torch.zeros(model.mix.in_channels, dtype=torch.float64) for _ in row]
        for number, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            assert block.gate.bias is not None
            dilation, outputs = 2 ** (number % 4), []
            for t, x in enumerate(inputs):
                before = inputs[t - dilation] if t >= dilation else torch.zeros_like(x)
                gate = block.gate.weight[:, :, 0] @ before + block.gate.weight[:, :, 1] @ x + block.gate.bias
                half = len(gate) // 2
                z = torch.tanh(gate[:half]) * torch.sigmoid(gate[half:])
                sums[t] = sums[t] + product(block.skip, z)
                outputs.append(x if block.residual is None else x + product(block.residual, z))
            inputs = outputs
        rows.append(torch.stack([product(model.out, F.relu(product(model.mix, F.relu(one)))) for one in sums], 1))
    return torch.stack(rows)


def test_logits_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = net(), codes(2, 40)
    with torch.no_grad():
        expected = by_the_paper(model, given)
        assert torch.allclose(model(given), expected, atol=1e-12)
        with by_convolutions(monkeypatch):
            assert torch.allclose(model(given), expected, atol=1e-12)
    assert expected.std() > 1e-3


def test_both_ways_to_compute_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last positions, of all of them, and where the beginning of a song is reached or is not."""
    model = net()
    for length, keep in ((40, 40), (40, 7), (90, 20), (20, 1), (1, 1), (3, 2)):
        given, direction = codes(3, length), torch.randn(3, CLASSES, keep, dtype=torch.float64)

        def gradients(given: Tensor = given, keep: int = keep, direction: Tensor = direction) -> list[Tensor]:
            """Twice, as of microbatches: what is added must not be memory that several weights share."""
            model.zero_grad()
            for _ in range(2):
                (model(given, keep=keep) * direction).sum().backward()
            return [p.grad.clone() for p in model.parameters() if p.grad is not None]

        fast = gradients()
        with by_convolutions(monkeypatch):
            slow = gradients()
        assert len(fast) == len(list(model.parameters()))
        for one, other in zip(fast, slow, strict=True):
            assert torch.allclose(one, other, atol=1e-10 * max(1.0, float(other.abs().max())))


def test_the_backward_pass_is_the_derivative() -> None:
    """Along some directions through all weights, by differences."""
    model, given = net(), codes(2, 50)
    direction = torch.randn(2, CLASSES, 30, dtype=torch.float64)

    def value() -> float:
        with torch.no_grad():
            return float((model(given, keep=30) * direction).sum())

    (model(given, keep=30) * direction).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        way = torch.randn_like(parameter)
        slope = float((parameter.grad * way).sum())
        with torch.no_grad():
            parameter += 1e-5 * way
            above = value()
            parameter -= 2e-5 * way
            below = value()
            parameter += 1e-5 * way
        assert (above - below) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("stacks", "layers"), SIZES)
def test_a_code_changes_nothing_before_it_and_reaches_exactly_as_far_as_stated(
    stacks: int, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traps 10 and 11. In all ways to compute, since each of them pads on its own."""
    model = net(stacks, layers)
    sees = 1 + stacks * (2**layers - 1)
    assert model.receptive_field == sees
    at, given = sees + 3, codes(1, 3 * sees + 8)
    other = given.clone()
    other[0, at] = (other[0, at] + 1) % CLASSES
    for way in (by_convolutions(monkeypatch), _as_it_is()):
        with way, torch.no_grad():
            changed = (model(other) - model(given)).abs().amax((0, 1)) > 0
        places = changed.nonzero()[:, 0].tolist()
        assert places[0] == at
        assert places[-1] == at + sees - 1


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def test_dilations_double_in_each_stack() -> None:
    model = WaveNet()
    expected = [2**layer for _ in range(2) for layer in range(10)]
    assert [block.gate.dilation for block in model.blocks if isinstance(block, Block)] == [(d,) for d in expected]
    assert model.receptive_field == 1 + 2 * 1023
    last = model.blocks[-1]
    assert isinstance(last, Block)
    assert last.residual is None


@pytest.mark.parametrize("rows", [1, 3])
def test_the_last_positions_alone_have_the_same_logits(rows: int) -> None:
    model, given = net(), codes(rows, 100)
    with torch.no_grad():
        whole = model(given)
        for keep in (1, 2, 30, 31, 69, 70, 99, 100):
            assert torch.allclose(model(given, keep=keep), whole[:, :, -keep:], atol=1e-12)
    for keep in (0, 101):
        with pytest.raises(ValueError, match=f"keep must be between 1 and the 100 codes that are given, got {keep}"):
            model(given, keep=keep)


def test_no_layer_computes_what_no_kept_position_needs() -> None:
    spans = spans_of(1000, 10, [1, 2, 4, 1, 2, 4])
    assert [span.out for span in spans] == [23, 21, 17, 16, 14, 10]
    assert [span.length for span in spans] == [24, 23, 21, 17, 16, 14]
    assert [span.out for span in spans_of(12, 10, [1, 2, 4, 1, 2, 4])] == [12, 12, 12, 12, 12, 10]


def test_a_song_begins_with_zeros_and_not_with_whatever_lies_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that cached rings, which begin with zeros, say the same."""
    model = net()
    first = codes(1, 1)
    with torch.no_grad():
        alone = model(first)
        block = model.blocks[0]
        assert isinstance(block, Block)
        block.gate.weight[:, :, 0] += 1
        assert torch.equal(model(first), alone)
        later = codes(1, 2)
        before = model(later)
        block.gate.weight[:, :, 0] += 1
        assert not torch.equal(model(later), before)


def test_half_precision_takes_torch_s_convolutions_and_says_about_the_same() -> None:
    model = net().float()
    given = codes(2, 60)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(given)
    assert half.dtype == torch.bfloat16
    with torch.no_grad():
        whole = model(given)
    assert float((half.float() - whole).abs().max()) < 0.05 * math.sqrt(float(whole.var()))


def test_codes_that_sound_alike_begin_alike() -> None:
    weight = WaveNet().embed.weight.detach()
    apart = torch.cdist(weight, weight).fill_diagonal_(float("inf"))
    assert (apart.argmin(1) - torch.arange(256)).abs().max() == 1
    assert weight.var(0).sub(1).abs().max() < 0.01


def test_codes_as_they_are_stored_are_taken() -> None:
    torch.manual_seed(0)
    model = WaveNet(residual=4, skip=4, stacks=1, layers=3)
    stored = torch.tensor([[SILENCE, 255, 0, 7]], dtype=torch.uint8)
    assert torch.equal(model(stored), model(stored.long()))
