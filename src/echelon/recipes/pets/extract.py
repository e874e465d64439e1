"""Image files to features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from echelon.recipes.pets.networks.network import Network
from echelon.recipes.pixels.decode import BrokenImage, Pixels, decode


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
def extract(network: Network, contents: Iterable[bytes], *, convert: bool, batch_size: int = 16) -> Extracted:
    """The features of images, given as the contents of files. The whole image is stretched to the network's square.

    Threads, and memory that is kept between batches, are the caller's: see `world.threads` and `kept_memory`.

    Args:
        network: for prediction; on the device that computes. contents: asked for as they are needed. convert: take
            images that are no RGB (grey, CMYK, palette, transparent) as RGB, instead of leaving them out. batch_size:
            images of one forward pass.

    Raises:
        EchelonError: Pillow is not installed.
    """
    size, device = (network.side, network.side), network.mean.device
    features = [np.empty((0, network.features), np.float32)]
    waiting: list[Pixels] = []
    kept: list[int] = []
    problems: dict[int, str] = {}
    converted = 0

    def compute() -> None:
        if waiting:
            features.append(network(torch.from_numpy(np.stack(waiting)).to(device)).cpu().numpy())
            waiting.clear()

    for number, content in enumerate(contents):
        try:
            pixels, other = decode(content, size)
        except BrokenImage as error:
            problems[number] = str(error)
            continue
        if other and not convert:
            problems[number] = "it is not RGB but grey, CMYK, of a palette or transparent (--convert takes such)"
            continue
        waiting.append(pixels)
        kept.append(number)
        converted += other
        if len(waiting) == batch_size:
            compute()
    compute()
    return Extracted(np.concatenate(features), kept, problems, converted)
