"""VGG16 up to fc2."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

COUNTS = (2, 2, 3, 3, 3)
"""Convolutions before each pooling: configuration D of the paper."""


@dataclass(frozen=True)
class Width:
    """How much of everything there is. side: of the images. channels: of the convolutions before each pooling. dense:
    units of fc1 and fc2.
    """

    side: int = 224
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)
    dense: int = 4096


FULL = Width()


class VGG16(nn.Module):
    """Simonyan & Zisserman: "Very deep convolutional networks for large-scale image recognition", ICLR 2015.

    Float [n, 3, 224, 224] to the output of fc2 after its ReLU, [n, 4096]. 134,260,544 parameters, under the names that
    they have in torchvision's vgg16; the last layer, which names the classes of ImageNet, is left away.
    """

    def __init__(self, width: Width = FULL) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, count in zip(width.channels, COUNTS, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        side = width.side // 2 ** len(COUNTS)
        # The numbers of torchvision, which has a dropout at 2.
        dense: dict[str, nn.Module] = {"0": nn.Linear(before * side * side, width.dense), "1": nn.ReLU(inplace=True)}
        dense |= {"3": nn.Linear(width.dense, width.dense), "4": nn.ReLU(inplace=True)}
        self.classifier = nn.Sequential(OrderedDict(dense))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).flatten(1))
