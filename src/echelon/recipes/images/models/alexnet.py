"""AlexNet and CaffeNet, as in Caffe's model zoo."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import nn

from echelon.errors import EchelonError
from echelon.recipes.images.models.lrn import LocalResponseNorm
from echelon.recipes.images.models.pooling import pooled_often
from echelon.recipes.images.models.weights import fill_gaussian, fill_he, fill_zeros

LEAST = 39
_DEVIATIONS = {"fc6": 0.005, "fc7": 0.005}
_WITHOUT_BIAS = ("conv1", "conv3", "fc8")


class AlexNet(nn.Sequential):
    """models/bvlc_alexnet/train_val.prototxt of Caffe: Krizhevsky et al. 2012 with its grouped convolutions.

    60,965,224 parameters for 1,000 classes of 227x227 pixels; fc6 adapts to other sizes of at least 39x39. The layers
    have Caffe's names. Its data layer's mirroring and random crops belong to the learner.
    """

    SIDE: ClassVar[int] = 227
    BIAS: ClassVar[float] = 0.1
    NORM_FIRST: ClassVar[bool] = True

    def __init__(self, classes: int, size: tuple[int, int], init: str) -> None:
        """
        Args:
            size: height and width of what it sees.
            init: "caffe" for the original Gaussians (for pixels of 0…255), "he" for He et al. 2015 (for unit variance).

        Raises:
            EchelonError: pooling would leave nothing of the image.
        """
        if min(size) < LEAST:
            raise EchelonError(
                f"{type(self).__name__.lower()} needs images of at least {LEAST}x{LEAST} pixels, "
                f"got {size[1]}x{size[0]}: prepare them with a larger --size, or use --model resnet"
            )
        height, width = (pooled_often((side - 11) // 4 + 1, 3) for side in size)
        layers: dict[str, nn.Module] = {"conv1": nn.Conv2d(3, 96, 11, stride=4), "relu1": nn.ReLU()}
        layers |= self._reduced(1)
        layers |= {"conv2": nn.Conv2d(96, 256, 5, padding=2, groups=2), "relu2": nn.ReLU()}
        layers |= self._reduced(2)
        layers |= {"conv3": nn.Conv2d(256, 384, 3, padding=1), "relu3": nn.ReLU()}
        layers |= {"conv4": nn.Conv2d(384, 384, 3, padding=1, groups=2), "relu4": nn.ReLU()}
        layers |= {"conv5": nn.Conv2d(384, 256, 3, padding=1, groups=2), "relu5": nn.ReLU()}
        layers |= {"pool5": nn.MaxPool2d(3, 2, ceil_mode=True), "flat5": nn.Flatten()}
        layers |= {"fc6": nn.Linear(256 * height * width, 4096), "relu6": nn.ReLU(), "drop6": nn.Dropout(0.5)}
        layers |= {"fc7": nn.Linear(4096, 4096), "relu7": nn.ReLU(), "drop7": nn.Dropout(0.5)}
        super().__init__(OrderedDict(layers | {"fc8": nn.Linear(4096, classes)}))
        self._initialise(init)

    def _reduced(self, number: int) -> dict[str, nn.Module]:
        pool = (f"pool{number}", nn.MaxPool2d(3, 2, ceil_mode=True))
        norm = (f"norm{number}", LocalResponseNorm())
        return dict((norm, pool) if self.NORM_FIRST else (pool, norm))

    def _initialise(self, init: str) -> None:
        for name, layer in self.named_children():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            if init == "caffe":
                fill_gaussian(layer, _DEVIATIONS.get(name, 0.01), 0.0 if name in _WITHOUT_BIAS else self.BIAS)
            elif name == "fc8" and isinstance(layer, nn.Linear):
                fill_zeros(layer)
            else:
                fill_he(layer)


class CaffeNet(AlexNet):
    """models/bvlc_reference_caffenet/train_val.prototxt of Caffe, what SparkNet trained on ImageNet: AlexNet with its
    pooling before the normalisation, and biases that begin with 1.
    """

    BIAS = 1.0
    NORM_FIRST = False
