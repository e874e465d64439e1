"""GoogLeNet, as in Caffe's model zoo."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.recipes.images.models.lrn import LocalResponseNorm
from echelon.recipes.images.models.pooling import pooled, pooled_often
from echelon.recipes.images.models.weights import fill_he, fill_xavier, fill_zeros

LEAST = 47
HEAD_WEIGHT = 0.3
"""Of the loss of each auxiliary head."""


class Inception(nn.Module):
    """Four branches side by side (Szegedy et al. 2015, figure 2b); the size stays."""

    def __init__(self, before: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> None:
        """
        Args:
            before: channels of the input; the others are the columns of table 1 of the paper, from "#1×1" on.
        """
        super().__init__()
        self.branches = nn.ModuleDict(
            {
                "1x1": _convolution(before, one, 1),
                "3x3": nn.Sequential(_convolution(before, reduce3, 1), _convolution(reduce3, three, 3)),
                "5x5": nn.Sequential(_convolution(before, reduce5, 1), _convolution(reduce5, five, 5)),
                "pool": nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _convolution(before, pool, 1)),
            }
        )
        self.channels = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches.values()], dim=1)


class AuxiliaryHead(nn.Sequential):
    """A classifier in the middle of the network, which brings a gradient to the layers before it in training."""

    def __init__(self, before: int, classes: int, size: tuple[int, int]) -> None:
        """
        Args:
            size: height and width of the input.
        """
        flat = 128 * pooled(size[0], 5, 3) * pooled(size[1], 5, 3)
        super().__init__(
            OrderedDict(
                pool=nn.AvgPool2d(5, 3, ceil_mode=True),
                conv=_convolution(before, 128, 1),
                flat=nn.Flatten(),
                fc=nn.Linear(flat, 1024),
                relu=nn.ReLU(),
                drop=nn.Dropout(0.7),
                classifier=nn.Linear(1024, classes),
            )
        )


class GoogLeNet(nn.Module):
    """models/bvlc_googlenet/train_val.prototxt of Caffe: Szegedy et al. 2015.

    6,998,552 parameters for 1,000 classes of any size of at least 47x47 pixels, and the two heads: 13,378,280 together
    at 224x224, where fc in the heads sees 4x4. Modules have Caffe's names where those are unique.
    """

    SIDE: ClassVar[int] = 224

    def __init__(self, classes: int, size: tuple[int, int], init: str) -> None:
        """
        Args:
            size: height and width of what it sees.
            init: "caffe" for the original fillers (for pixels of 0…255), "he" for He et al. 2015 (for unit variance).

        Raises:
            EchelonError: pooling would leave nothing of the image.
        """
        if min(size) < LEAST:
            raise EchelonError(
                f"googlenet needs images of at least {LEAST}x{LEAST} pixels, got {size[1]}x{size[0]}: "
                "prepare them with a larger --size, or use --model resnet"
            )
        super().__init__()
        self.stem = _stem()
        self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.pool3 = _pool()
        self.inception_4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception_4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception_4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception_4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception_4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.pool4 = _pool()
        self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.pool5 = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.4)
        self.classifier = nn.Linear(1024, classes)
        middle = tuple(pooled_often((side - 1) // 2 + 1, 3) for side in size)
        self.loss1 = AuxiliaryHead(512, classes, (middle[0], middle[1]))
        self.loss2 = AuxiliaryHead(528, classes, (middle[0], middle[1]))
        self._initialise(init)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Logits, [n, classes]; in training also those of the two heads."""
        x = self.pool3(self.inception_3b(self.inception_3a(self.stem(x))))
        first = self.inception_4a(x)
        second = self.inception_4d(self.inception_4c(self.inception_4b(first)))
        x = self.pool4(self.inception_4e(second))
        x = self.inception_5b(self.inception_5a(x))
        logits: Tensor = self.classifier(self.drop(self.pool5(x).flatten(1)))
        return (logits, self.loss1(first), self.loss2(second)) if self.training else logits

    def _initialise(self, init: str) -> None:
        last = (self.classifier, self.loss1.classifier, self.loss2.classifier)
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            if init == "caffe":
                fill_xavier(layer, 0.0 if layer in last else 0.2)
            elif layer in last and isinstance(layer, nn.Linear):
                fill_zeros(layer)
            else:
                fill_he(layer)


def _stem() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=_convolution(3, 64, 7, stride=2),
            pool1=_pool(),
            norm1=LocalResponseNorm(),
            conv2_reduce=_convolution(64, 64, 1),
            conv2=_convolution(64, 192, 3),
            norm2=LocalResponseNorm(),
            pool2=_pool(),
        )
    )


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.ReLU())


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
