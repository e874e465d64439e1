"""A network with all that it does to pixels, so that its numbers alone say what it makes of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Pixels to features: uint8 [n, 3, side, side], RGB, to float32 [n, features].

    Pixels become (pixel - mean) / deviation by channel, then go through the body in the precision of its weights.
    Weights that were trained on blue, green, red have the channels of their first layer turned round.

    mirrored: features are the means of those of each image and of its mirror image, as in Chatfield et al.: "Return of
    the devil in the details", BMVC 2014, which halves what is due to where a pet looks.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, side: int, features: int, mirrored: bool = False) -> None:
        super().__init__()
        self.mirrored = mirrored
        self.side, self.features = side, features
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))
        self.body = body

    def forward(self, pixels: Tensor) -> Tensor:
        mean, deviation = (values.view(3, 1, 1) for values in (self.mean, self.deviation))
        dtype = next(self.body.parameters()).dtype
        scaled = ((pixels - mean) / deviation).to(dtype, memory_format=torch.channels_last)
        features = self.body(scaled).float()
        return (features + self.body(scaled.flip(3)).float()) / 2 if self.mirrored else features
