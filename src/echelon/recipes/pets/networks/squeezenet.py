"""SqueezeNet v1.0 up to fire9."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 227
CHANNELS = 512
GRID = (2, 4)
FIRES = {3: (96, 16, 64), 4: (128, 16, 64), 5: (128, 32, 128), 7: (256, 32, 128), 8: (256, 48, 192), 9: (384, 48, 192),
         10: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip
"""By their number in torchvision's squeezenet1_0: channels before, squeezed, and of each half after. These are fire2 to
fire9 of the paper.
"""
_POOLS = (2, 6, 11)


class Fire(nn.Module):
    """Squeezes the channels, then expands them by 1x1 and by 3x3 convolutions side by side."""

    def __init__(self, before: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        squeezed = self.squeeze(images).relu_()
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1).relu_()


class Grid(nn.Module):
    """Each channel averaged over the cells of a grid of 2 rows and 4 columns: [n, C, h, w] to [n, 8·C]."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(GRID)

    def forward(self, channels: Tensor) -> Tensor:
        return self.pool(channels).flatten(1)


class MeanAndMaximum(nn.Module):
    """Each channel's mean over the whole image, and its maximum, which finds what is small: [n, C, h, w] to [n, 2·C].

    Both halves have the length 1 for each image, since maxima are several times as large and would drown the means.
    """

    def forward(self, channels: Tensor) -> Tensor:
        halves = channels.mean((2, 3)), channels.amax((2, 3))
        return torch.cat([functional.normalize(half.float(), dim=1) for half in halves], 1)


class SqueezeNet(nn.Module):
    """Iandola et al.: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, its version 1.0.

    Float [n, 3, 227, 227] to [n, features]: what `pool` makes of the 512 channels of fire9, [n, 512, 13, 13]. 735,424
    parameters, under the names that they have in torchvision's squeezenet1_0.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        layers: dict[int, nn.Module] = {0: nn.Conv2d(3, 96, 7, stride=2), 1: nn.ReLU(inplace=True)}
        layers |= {number: nn.MaxPool2d(3, stride=2, ceil_mode=True) for number in _POOLS}
        layers |= {number: Fire(*channels) for number, channels in FIRES.items()}
        self.features = nn.Sequential(*(layers[number] for number in sorted(layers)))
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.pool(self.features(images))
        return features
