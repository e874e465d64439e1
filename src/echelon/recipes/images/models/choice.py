"""A network by its name."""

from __future__ import annotations

from torch import nn

from echelon.errors import EchelonError
from echelon.recipes.images.models.alexnet import AlexNet, CaffeNet
from echelon.recipes.images.models.googlenet import GoogLeNet
from echelon.recipes.images.models.quick import Quick
from echelon.recipes.images.models.resnet import ResNet

MODELS = ("quick", "resnet", "caffenet", "alexnet", "googlenet")


def network(name: str, classes: int, size: tuple[int, int], *, init: str, width: int, depth: int) -> nn.Module:
    """A new network.

    Args:
        size: height and width of what it sees. init: "he" or "caffe", which resnet does not have. width, depth: of
            resnet.

    Raises:
        EchelonError: there is none of this name, or the images are too small for it.
    """
    match name:
        case "quick":
            return Quick(classes, size, init)
        case "resnet":
            return ResNet(classes, width, depth, size)
        case "caffenet":
            return CaffeNet(classes, size, init)
        case "alexnet":
            return AlexNet(classes, size, init)
        case "googlenet":
            return GoogLeNet(classes, size, init)
    raise EchelonError(f"--model {name} is unknown; there are: {', '.join(MODELS)}")


def usual_crop(name: str, size: tuple[int, int]) -> int:
    """Side of what a network sees by default of images of this height and width: that of its publication where both
    sides are larger, else 0 for the whole image.
    """
    side = {"caffenet": CaffeNet.SIDE, "alexnet": AlexNet.SIDE, "googlenet": GoogLeNet.SIDE}.get(name)
    return side if side is not None and min(size) > side else 0
