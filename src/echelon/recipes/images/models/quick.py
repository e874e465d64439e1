"""cifar10_quick of Caffe."""

from __future__ import annotations

from torch import nn

from echelon.errors import EchelonError
from echelon.recipes.images.models.pooling import pooled_often
from echelon.recipes.images.models.weights import fill_gaussian, fill_he, fill_zeros

LEAST = 8


class Quick(nn.Sequential):
    """cifar10_quick of Caffe (examples/cifar10/cifar10_quick_train_test.prototxt): 145,578 parameters for 10 classes.

    Pooling rounds sizes up, and the mean of a window that hangs over the border counts the pixels inside, as in Caffe.
    """

    def __init__(self, classes: int, size: tuple[int, int], init: str) -> None:
        """
        Args:
            size: height and width of the images.
            init: "caffe" for the original Gaussians (for pixels of 0…255), "he" for He et al. 2015 (for unit variance).

        Raises:
            EchelonError: pooling would leave nothing of the image.
        """
        if min(size) < LEAST:
            raise EchelonError(
                f"quick needs images of at least 8x8 pixels, got {size[1]}x{size[0]}: use --model resnet"
            )
        flat = 64 * pooled_often(size[0], 3) * pooled_often(size[1], 3)
        super().__init__(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.ReLU(),
            nn.Conv2d(32, 32, 5, padding=2),
            nn.ReLU(),
            nn.AvgPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.AvgPool2d(3, 2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(flat, 64),
            nn.Linear(64, classes),
        )
        layers = [layer for layer in self if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer, deviation in zip(layers, (1e-4, 0.01, 0.01, 0.1, 0.1), strict=True):
            if init == "caffe":
                fill_gaussian(layer, deviation, 0.0)
            elif layer is layers[-1] and isinstance(layer, nn.Linear):
                fill_zeros(layer)
            else:
                fill_he(layer)
