"""A network with all that it does to pixels, so that its numbers alone say what it makes of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Pixels to features: uint8 [n, 3, side, side], RGB, to float32 [n, features].

    Pixels become (pixel - mean) / deviation by channel, then go through the body in the precision of its weights.
    Weights that were trained on blue, green, red have the channels of their first layer turned round.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, side: int, features: int) -> None:
        super().__init__()
        self.side, self.features = side, features
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))
        self.body = body

    def forward(self, pixels: Tensor) -> Tensor:
        mean, deviation = (values.view(3, 1, 1) for values in (self.mean, self.deviation))
        dtype = next(self.body.parameters()).dtype
        scaled = ((pixels - mean) / deviation).to(dtype, memory_format=torch.channels_last)
        return self.body(scaled).float()
