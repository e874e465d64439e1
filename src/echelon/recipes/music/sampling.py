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
from torch import Tensor

from echelon.data.keyed import Draw
from echelon.errors import EchelonError
from echelon.recipes.music.wavenet import Block, WaveNet

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
        if self.seed < 0:
            raise EchelonError(f"the seed must be at least 0, got {self.seed}")

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

    def __init__(self, model: WaveNet) -> None:
        self._model = model
        self._blocks = [block for block in model.blocks if isinstance(block, Block)]
        width = model.embed.embedding_dim
        self._rings = [torch.zeros(block.dilation, width) for block in self._blocks]
        self._time = 0

    @torch.no_grad()
    def feed(self, code: int) -> Tensor:
        """The logits of what follows one more code, float32 [classes]."""
        model, x = self._model, self._model.embed.weight[code]
        total = torch.zeros(model.mix.in_channels)
        for block, ring in zip(self._blocks, self._rings, strict=True):
            slot = self._time % block.dilation
            earlier = ring[slot].clone()
            ring[slot] = x
            before, now = block.gate.weight.unbind(2)
            signal, openness = F.linear(x, now, block.gate.bias).addmv(before, earlier).chunk(2)
            gated = torch.tanh(signal) * torch.sigmoid(openness)
            total += F.linear(gated, block.skip.weight[:, :, 0], block.skip.bias)
            if block.residual is not None:
                x = x + F.linear(gated, block.residual.weight[:, :, 0], block.residual.bias)
        self._time += 1
        hidden = F.relu(F.linear(F.relu(total), model.mix.weight[:, :, 0], model.mix.bias))
        return F.linear(hidden, model.out.weight[:, :, 0], model.out.bias)
