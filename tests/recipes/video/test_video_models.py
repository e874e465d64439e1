"""The networks: against torch's own LSTM and plain formulas, and the traps that padding and short videos are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from echelon.recipes.video.models.encoders import FrameMeans
from echelon.recipes.video.models.heads import MixtureOfExperts, RowNorm
from echelon.recipes.video.models.labeller import MODELS, network
from echelon.recipes.video.models.lstm import BiLstm
from echelon.recipes.video.models.packing import pack
from echelon.recipes.video.models.recurrence import Recurrence

LENGTHS = {
    "mixed": [3, 9, 0, 1, 4, 9],
    "equal": [5, 5, 5],
    "one": [7],
    "one frame": [1, 1],
    "none": [0, 0],
    "shorter than the padding": [2, 4],
}


def frames(lengths: list[int], width: int, seed: int = 0, longest: int = 9) -> tuple[Tensor, Tensor]:
    """Sequences with zeros for padding, and their lengths."""
    given = torch.randn(len(lengths), longest, width, generator=torch.Generator().manual_seed(seed))
    of_each = torch.tensor(lengths)
    return given * (torch.arange(longest) < of_each[:, None])[:, :, None], of_each


def by_torch(module: BiLstm, sequences: Tensor, lengths: Tensor) -> Tensor:
    """What nn.LSTM gives with the same weights."""
    packed = pack_padded_sequence(sequences, lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
    states = module.lstm(packed)[1][0] * (lengths > 0)[:, None]
    return torch.cat([states[0], states[1]], dim=1)


@pytest.mark.parametrize("case", LENGTHS)
def test_an_lstm_and_its_gradients_are_those_of_torch(case: str) -> None:
    torch.manual_seed(1)
    module = BiLstm(7, 5)
    sequences, lengths = frames(LENGTHS[case], 7)
    sequences.requires_grad_()
    weights = torch.randn(len(lengths), 10)
    outputs, gradients = [], []
    for output in (module(sequences, lengths), by_torch(module, sequences, lengths)):
        outputs.append(output)
        gradients.append(torch.autograd.grad((output * weights).sum(), [sequences, *module.parameters()]))
    assert torch.allclose(*outputs, atol=1e-6)
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(*gradients, strict=True))


def test_the_gradients_of_a_recurrence_are_those_of_differences() -> None:
    torch.manual_seed(0)
    packing = pack(torch.tensor([3, 0, 1, 2]), 3)
    given = torch.randn(2, len(packing.places), 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *two: Recurrence.apply(*two, 4, packing.ends), (given, weight))


def test_a_batch_without_any_frame_is_labelled_and_trained_on() -> None:
    module = BiLstm(7, 5)
    output = module(torch.empty(3, 0, 7), torch.zeros(3, dtype=torch.int64))
    output.sum().backward()
    assert torch.equal(output, torch.zeros(3, 10))


@pytest.mark.parametrize("name", MODELS)
def test_padding_never_changes_what_a_network_says_of_frames(name: str) -> None:
    torch.manual_seed(0)
    net = network(name, "frame", 6, units=4, hidden=[8]).eval()
    lengths = [4, 9, 1, 0, 6]
    picture, counts = frames(lengths, 1024, seed=1)
    sound, _ = frames(lengths, 128, seed=2)
    together = net(picture, sound, counts)
    longer = net(nn.functional.pad(picture, (0, 0, 0, 30)), nn.functional.pad(sound, (0, 0, 0, 30)), counts)
    assert torch.allclose(longer, together, atol=1e-6)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = net(picture[one, :length], sound[one, :length], counts[one])
        assert torch.allclose(alone, together[one], atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3, "the network tells videos apart"


@pytest.mark.parametrize("audio", [True, False], ids=["with sound", "without"])
@pytest.mark.parametrize("level", ["frame", "video"])
@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_connected(name: str, level: str, audio: bool) -> None:
    """Also those of the sound, which are connected in no network that merely builds them."""
    if name == "lstm" and level == "video":
        pytest.skip("has no frames")
    torch.manual_seed(0)
    net = network(name, level, 6, audio=audio, units=4, hidden=[8, 5])
    (picture, lengths), (sound, _) = frames([4, 9, 2], 1024, seed=1), frames([4, 9, 2], 128, seed=2)
    if level == "video":
        picture, sound = picture[:, 0], sound[:, 0]
    given = (picture, sound if audio else None, lengths if level == "frame" else None)
    net(*given).pow(2).sum().backward()
    unmoved = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    # The biases before a batch norm cancel out.
    assert [name for name in unmoved if not name.startswith("head.") or not name.endswith("bias")] == []
    assert any(weight.shape[-1] in (128, 1152) for weight in net.parameters()) == audio
    if audio:
        net.eval()
        assert not torch.allclose(net(picture, sound.flip(0), given[2]), net(*given))


def test_the_mean_of_frames_is_that_of_the_true_ones_brought_to_length_1() -> None:
    picture, lengths = frames([3, 1, 0], 5)
    sound, _ = frames([3, 1, 0], 2, seed=1)
    found = FrameMeans(5, 2)(picture, sound, lengths)
    for row, length in enumerate([3, 1]):
        for part, of in ((found[row, :5], picture), (found[row, 5:], sound)):
            mean = of[row, :length].mean(0)
            assert torch.allclose(part, mean / mean.norm(), atol=1e-6)
    assert not found[2].any()


def test_a_mixture_of_experts_is_its_formula() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(5, 3, 2)
    vectors = torch.randn(4, 5)
    gates = mixture.gates(vectors).view(4, 3, 3).softmax(2)
    experts = mixture.experts(vectors).view(4, 3, 2).sigmoid()
    expected = (gates[:, :, :2] * experts).sum(2)
    assert torch.allclose(mixture(vectors).sigmoid(), expected, atol=1e-6)
    assert mixture(vectors * 1e4).isfinite().all()


def test_a_batch_norm_trains_on_a_single_row() -> None:
    norm = RowNorm(3)
    norm(torch.randn(20, 3))
    before = norm.running_mean.clone()
    row = torch.randn(1, 3, requires_grad=True)
    norm(row).sum().backward()
    assert row.grad is not None
    assert row.grad.all()
    assert torch.equal(norm.running_mean, before)
    assert torch.allclose(norm(row), norm.eval()(row))
