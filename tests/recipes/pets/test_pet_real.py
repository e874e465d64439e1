"""The published SqueezeNet sees pets in photographs of pets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from echelon.recipes.pets.networks.choice import network_of
from echelon.recipes.pets.networks.weights import weights_of
from echelon.recipes.pixels.decode import decode

DOGS_AND_CATS = {*range(151, 269), *range(281, 286)}
"""Labels of ImageNet."""


@pytest.mark.slow
def test_the_public_weights_name_dogs_and_cats_and_only_with_red_first(shared_data):
    weights = shared_data / "weights" / "squeezenet_v1.0_deepcompression.npz"
    compressed = shared_data / "weights" / "compressed_SqueezeNet.net"
    vector = weights_of("squeezenet", str(weights))
    assert (weights_of("squeezenet", str(compressed)) == vector).all()
    network = network_of("squeezenet", vector)
    files = sorted((shared_data / "pets" / "images37").glob("*.jpg"))[::6]
    pixels = np.stack([decode(path.read_bytes(), (network.side, network.side))[0] for path in files])
    with np.load(weights) as tensors:
        kernel, bias = (torch.from_numpy(tensors[f"conv10/{end}"]) for end in "wb")

    def pets(images):
        scaled = (torch.from_numpy(images) - network.mean.view(3, 1, 1)) / network.deviation.view(3, 1, 1)
        scores = conv2d(network.body.features(scaled), kernel, bias, padding=1).relu().mean((2, 3))
        return sum(label in DOGS_AND_CATS for label in scores.argmax(1).tolist()) / len(images)

    with torch.inference_mode():
        right, blue_first = pets(pixels), pets(np.ascontiguousarray(pixels[:, ::-1]))
    assert right >= 0.9
    assert blue_first < right
