"""The bidirectional LSTM of the video recipe beside torch's own, on one thread of a processor.

    python benchmarks/video_lstm.py

One training step (forward and backward) of the picture's LSTM, 1,024 inputs and 100 units each way, on a batch of
sequences of 120 to 300 frames. All sides have the same weights and give the same result. torch's sides: nn.LSTM on
packed sequences, and two nn.LSTMs on padded ones, of which the second gets each sequence reversed. Denormal numbers
are flushed for all of them, as in a training. CPU time counts; sides take turns, and medians are told. Limit: our side
needs at most half of the CPU time of the packed one. About two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from measured import Outcome, in_turn, told
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from echelon.denormals import flushed_denormals
from echelon.recipes.video.models.lstm import BiLstm

INPUTS, UNITS, SHORTEST, LONGEST = 1024, 100, 120, 300
LIMIT = 2.0


class Packed(nn.Module):
    """nn.LSTM as its documentation has it for sequences of different lengths."""

    def __init__(self, like: BiLstm) -> None:
        super().__init__()
        self.lstm = like.lstm

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
        states = self.lstm(packed)[1][0]
        return torch.cat([states[0], states[1]], dim=1)


class Padded(nn.Module):
    """Two one-way LSTMs over the padding too; of each the state after the last true element is taken."""

    def __init__(self, like: BiLstm) -> None:
        super().__init__()
        self.ways = nn.ModuleList([nn.LSTM(INPUTS, UNITS, batch_first=True) for _ in range(2)])
        for way, suffix in zip(self.ways, ("", "_reverse"), strict=True):
            for name, weight in way.named_parameters():
                weight.data.copy_(getattr(like.lstm, name + suffix))

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        row, at = torch.arange(len(sequences))[:, None], torch.arange(sequences.shape[1])
        behind = lengths[:, None] - 1 - at
        turned = sequences[row, torch.where(behind >= 0, behind, at)]
        outputs = [way(given)[0] for way, given in zip(self.ways, (sequences, turned), strict=True)]
        return torch.cat([output[row[:, 0], lengths - 1] for output in outputs], dim=1)


def step(module: nn.Module, sequences: Tensor, lengths: Tensor) -> float:
    """CPU seconds of a forward and a backward pass."""
    begin = time.process_time()
    module(sequences, lengths).sum().backward()
    return time.process_time() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (chosen.rows,))
    sequences = torch.randn(chosen.rows, LONGEST, INPUTS)
    sequences *= (torch.arange(LONGEST) < lengths[:, None])[:, :, None]
    ours = BiLstm(INPUTS, UNITS)
    modules: list[nn.Module] = [ours, Packed(ours), Padded(ours)]
    with torch.no_grad():
        first, *others = (module(sequences, lengths) for module in modules)
    if not all(torch.allclose(first, other, atol=1e-4) for other in others):
        raise RuntimeError("the sides do not compute the same")
    sides: list[Callable[[], float]] = [lambda module=module: step(module, sequences, lengths) for module in modules]
    with flushed_denormals():
        found = in_turn(sides, chosen.rounds)
    seconds = [statistics.median(times) for times in zip(*found, strict=True)]
    rest = f"{seconds[0]:.2f} s of CPU for {chosen.rows} videos, torch's {{:.2f}} s"
    outcomes = [
        Outcome("nn.LSTM, packed / ours", seconds[1] / seconds[0], LIMIT, unit=" ×", rest=rest.format(seconds[1])),
        Outcome("two nn.LSTMs, padded / ours", seconds[2] / seconds[0], unit=" ×", rest=rest.format(seconds[2])),
    ]
    return told("A training step of the picture's LSTM", outcomes)


if __name__ == "__main__":
    sys.exit(main())
