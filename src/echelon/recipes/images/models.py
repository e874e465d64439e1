"""Networks for images, and the classifier that puts one behind its pre-processing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.errors import EchelonError

RESNET_GROUP = 8
WIDEST = 28
QUICK_LEAST = 8


class Classifier(nn.Module):
    """A network with all that lies between a stored image and its input, so that a loaded run takes stored images.

    The mean image of the training rows is saved and loaded with the weights. It is a parameter that is not trained, and
    no buffer, since strategies exchange buffers to keep them equal: it would travel in every round and never change.
    """

    def __init__(self, net: nn.Module, mean: Tensor, *, scale: float = 1.0, crop: int = 0, pad: int = 0) -> None:
        """
        Args:
            net: what takes the centred images, float32 [n, 3, h, w] in channels-last memory, to logits [n, classes].
            mean: what is subtracted from an image, float32 [3, H, W], in the units of its pixels (0…255).
            scale: factor on the centred pixels.
            crop: height and width that the network sees; 0 for the whole image.
            pad: pixels of value 0, after centring, that a window in training may overlap on each side.
        """
        super().__init__()
        self.net = net
        self.mean = nn.Parameter(mean.clone(), requires_grad=False)
        self.scale, self.pad = scale, pad
        self.seen = seen_size(tuple(mean.shape[1:]), crop)

    def forward(self, images: Tensor, windows: Tensor | None = None) -> Tensor:
        """Logits, float32 [n, classes].

        Args:
            images: uint8 [n, 3, H, W]. windows: for each image the top and the left of what is seen, counted in the
                padded image, and 1 if it is mirrored (int64, [n, 3]); None for the centre, never mirrored.
        """
        centred = (images - self.mean).mul_(self.scale)
        logits: Tensor = self.net(self._centre(centred) if windows is None else self._window(centred, windows))
        return logits

    def _centre(self, images: Tensor) -> Tensor:
        (height, width), (seen_height, seen_width) = images.shape[2:], self.seen
        top, left = (height - seen_height) // 2, (width - seen_width) // 2
        cut = images[:, :, top : top + seen_height, left : left + seen_width]
        return cut.contiguous(memory_format=torch.channels_last)

    def _window(self, images: Tensor, windows: Tensor) -> Tensor:
        padded = F.pad(images, [self.pad] * 4).permute(0, 2, 3, 1)
        top, left, mirrored = windows.unbind(1)
        across = torch.arange(self.seen[1], device=images.device)
        columns = left[:, None] + torch.where(mirrored[:, None] == 1, self.seen[1] - 1 - across, across)
        rows = top[:, None] + torch.arange(self.seen[0], device=images.device)
        image = torch.arange(len(images), device=images.device)
        seen = padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]
        return seen.permute(0, 3, 1, 2)


def seen_size(image: tuple[int, ...], crop: int) -> tuple[int, int]:
    """Height and width that a network sees of an image [H, W].

    Raises:
        EchelonError: the crop is larger than the image.
    """
    height, width = image
    if crop > min(height, width):
        raise EchelonError(f"--crop {crop} does not fit into images of {width}x{height}")
    return (crop, crop) if crop else (height, width)


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
        if min(size) < QUICK_LEAST:
            raise EchelonError(
                f"quick needs images of at least 8x8 pixels, got {size[1]}x{size[0]}: use --model resnet"
            )
        flat = 64 * _pooled_thrice(size[0]) * _pooled_thrice(size[1])
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
                nn.init.normal_(layer.weight, std=deviation)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        if init != "caffe":
            # Confident wrong guesses at the start lead some seeds into a plateau that SGD takes epochs to leave.
            nn.init.zeros_(layers[-1].weight)


def _pooled_thrice(size: int) -> int:
    for _ in range(3):
        size = -(-(size - 3) // 2) + 1
    return size


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
