"""What lies between a stored image and a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.errors import EchelonError


class Classifier(nn.Module):
    """A network with all that lies between a stored image and its input, so that a loaded run takes stored images.

    The mean image of the training rows is saved and loaded with the weights. It is a parameter that is not trained, and
    no buffer, since strategies exchange buffers to keep them equal: it would travel in every round and never change.
    """

    def __init__(self, net: nn.Module, mean: Tensor, *, scale: float = 1.0, crop: int = 0, pad: int = 0) -> None:
        """
        Args:
            net: what takes the centred images, float32 [n, 3, h, w] in channels-last memory, to logits [n, classes];
                in training perhaps to several, of which the first counts in evaluation.
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

    def forward(self, images: Tensor, windows: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """What the network gives: logits, float32 [n, classes].

        Args:
            images: uint8 [n, 3, H, W]. windows: for each image the top and the left of what is seen, counted in the
                padded image, and 1 if it is mirrored (int64, [n, 3]); None for the centre, never mirrored.
        """
        centred = (images - self.mean).mul_(self.scale)
        logits: Tensor | tuple[Tensor, ...] = self.net(
            self._centre(centred) if windows is None else self._window(centred, windows)
        )
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
