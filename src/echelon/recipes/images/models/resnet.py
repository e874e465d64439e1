"""A small residual network."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

RESNET_GROUP = 8
WIDEST = 28


class Block(nn.Module):
    """Two convolutions before each of which stand GroupNorm and ReLU, and a shortcut around them (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = _norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm2 = _norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        return self.conv2(F.relu(self.norm2(self.conv1(y)))) + self.shortcut(x)


class ResNet(nn.Module):
    """A small pre-activation residual network with GroupNorm, whose rows do not depend on each other.

    Its stem halves the image until neither side is above 28 pixels (32 → 16, 224 → 28). Three stages of `depth` blocks
    follow, with `width`, 2 `width` and 4 `width` channels; each stage after the first halves once more.
    """

    def __init__(self, classes: int, width: int, depth: int, size: tuple[int, int]) -> None:
        """
        Args:
            size: height and width of the images.
        """
        super().__init__()
        halvings = max(0, math.ceil(math.log2(max(size) / WIDEST)))
        # Of large images most of the work would be in the stem, so its convolution halves too.
        strided = halvings > 1
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2 if strided else 1, padding=1, bias=False),
            *(nn.MaxPool2d(2, ceil_mode=True) for _ in range(halvings - strided)),
        )
        blocks: list[nn.Module] = []
        before = width
        for stage in range(3):
            for index in range(depth):
                blocks.append(Block(before, width << stage, 2 if stage and not index else 1))
                before = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.norm = _norm(before)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(channels // RESNET_GROUP, 1), channels)
