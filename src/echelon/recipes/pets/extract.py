"""Image files to features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from echelon.recipes.pets.networks.network import Network
from echelon.recipes.pixels.decode import BrokenImage, decode


@dataclass(frozen=True)
class Extracted:
    """What was made of some files.

    features: float32 [kept, features]. kept: of each row the number of its file. problems: by the number of the file
    why it was left out. converted: how many of those that were kept were no RGB.
    """

    features: NDArray[np.float32]
    kept: list[int]
    problems: dict[int, str]
    converted: int


@torch.inference_mode()
def extract(network: Network, contents: Sequence[bytes], *, convert: bool, batch_size: int = 16) -> Extracted:
    """The features of images, given as the contents of files. The whole image is stretched to the network's square.

    Threads, and memory that is kept between batches, are the caller's: see `world.threads` and `kept_memory`.

    Args:
        network: for prediction; on the device that computes. convert: take images that are no RGB (grey, CMYK, palette,
            transparent) as RGB, instead of leaving them out. batch_size: images of one forward pass.

    Raises:
        EchelonError: Pillow is not installed.
    """
    size = network.side, network.side
    pixels = np.empty((len(contents), 3, *size), np.uint8)
    kept: list[int] = []
    problems: dict[int, str] = {}
    converted = 0
    for number, content in enumerate(contents):
        try:
            pixels[len(kept)], other = decode(content, size)
        except BrokenImage as error:
            problems[number] = str(error)
            continue
        if other and not convert:
            problems[number] = "it is not RGB but grey, CMYK, of a palette or transparent (--convert takes such)"
            continue
        kept.append(number)
        converted += other
    device = network.mean.device
    features = np.empty((len(kept), network.features), np.float32)
    for start in range(0, len(kept), batch_size):
        end = min(start + batch_size, len(kept))
        features[start:end] = network(torch.from_numpy(pixels[start:end]).to(device)).cpu().numpy()
    return Extracted(features, kept, problems, converted)
