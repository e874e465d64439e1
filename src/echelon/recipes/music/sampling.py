"""What comes next in a song, plainly: how a code is drawn, and the model one code at a time in PyTorch.

The kernel does the same many times as fast; this is what it is held against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon.data.keyed import Draw
from echelon.errors import EchelonError
from echelon.recipes.music.wavenet import Block, WaveNet
from echelon.train.config import LARGEST_SEED

COLDEST = 1e-4
"""Below this temperature all is drawn as if it were 0."""


@dataclass(frozen=True)
class Drawing:
    """How codes are drawn.

    seed: of the random numbers. temperature: what logits are divided by; 0 for always the most probable code. top_k:
    draws from so many of the most probable codes (the lower ones of equals); None for all.
    """

    seed: int = 0
    temperature: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise EchelonError(f"the temperature must be a number of at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise EchelonError(f"at least 1 code must be left to draw from, got top-k {self.top_k}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise EchelonError(f"the seed must be at least 0 and at most {LARGEST_SEED}, got {self.seed}")

    def uniforms(self, song: int, begin: int, end: int) -> NDArray[np.float32]:
        """The random numbers of codes [begin, end) of a song, in [0, 1): a function of these and of the seed only."""
        return Draw(self.seed, song, torch.arange(begin, end)).uniform(1)[:, 0].numpy()


def choose(logits: NDArray[np.float32], uniform: float, drawing: Drawing) -> int:
    """The code that a number from [0, 1) draws from the softmax of the logits, float32 [classes], by the inverse of the
    cumulative distribution.
    """
    if drawing.temperature < COLDEST:
        return int(np.argmax(logits))
    probable = np.argsort(-logits, kind="stable")[: drawing.top_k]
    weights = np.zeros(len(logits))
    weights[probable] = np.exp((logits[probable].astype(float) - logits.max()) / drawing.temperature)
    reached = np.cumsum(weights)
    return int(np.searchsorted(reached, uniform * reached[-1], side="right"))


@torch.no_grad()
def logits_of_window(model: WaveNet, codes: Tensor) -> Tensor:
    """The logits of what follows codes, int64 [t], float32 [classes], by the model on all that it looks back on."""
    return model(codes[None, -model.receptive_field :], keep=1)[0, :, 0]


class StepByStep:
    """A model that remembers, in PyTorch: each layer its inputs over its dilation."""

    @torch.inference_mode()
    def __init__(self, model: WaveNet) -> None:
        self._model = model
        self._skip = model.mix.in_channels
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        self._rings = [torch.zeros(block.dilation, model.embed.embedding_dim) for block in blocks]
        # Both taps of a gate together, and both projections: a product is hardly more than its call.
        self._gates = [(_bias(block.gate), torch.cat(block.gate.weight.unbind(2), 1)) for block in blocks]
        self._projections = [_together(block) for block in blocks]
        self._time = 0

    @torch.inference_mode()
    def feed(self, code: int) -> Tensor:
        """The logits of what follows one more code, float32 [classes]."""
        model, x = self._model, self._model.embed.weight[code]
        total = torch.zeros(self._skip)
        for ring, gate, projection in zip(self._rings, self._gates, self._projections, strict=True):
            slot = self._time % len(ring)
            signal, openness = torch.addmv(*gate, torch.cat([ring[slot], x])).chunk(2)
            ring[slot] = x
            given = torch.addmv(*projection, torch.tanh(signal) * torch.sigmoid(openness))
            total += given[: self._skip]
            if len(given) > self._skip:
                x = x + given[self._skip :]
        self._time += 1
        hidden = F.relu(F.linear(F.relu(total), model.mix.weight[:, :, 0], model.mix.bias))
        return F.linear(hidden, model.out.weight[:, :, 0], model.out.bias)


def _together(block: Block) -> tuple[Tensor, Tensor]:
    """The projections to the head and to the next layer, if there is one, as one: bias and weight."""
    both = [each for each in (block.skip, block.residual) if each is not None]
    return torch.cat([_bias(each) for each in both]), torch.cat([each.weight[:, :, 0] for each in both])


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
