"""Networks of the public shapes, only narrower, with random weights in every public layout."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np

from echelon.recipes.pets.networks.choice import NETWORKS
from echelon.recipes.pets.networks.vgg16 import VGG16, Width

WIDTH = Width(side=64, channels=(4, 4, 6, 6, 8), dense=16)
COUNTS = (2, 2, 3, 3, 3)


def narrow_vgg16():
    """A kind of VGG16 that a test can afford."""
    return dataclasses.replace(NETWORKS["vgg16"], body=lambda: VGG16(WIDTH), side=WIDTH.side, features=WIDTH.dense)


def small_squeezenet(model):
    """SqueezeNet as it is, on smaller images, of which fire9 has 3x3 places."""
    return dataclasses.replace(NETWORKS[model], side=67)


def keras_weights(seed=0):
    """Of the narrow VGG16, in the layout of Keras: by layer (kernel, bias)."""
    random = np.random.default_rng(seed)
    weights, before = {}, 3
    for block, (channels, count) in enumerate(zip(WIDTH.channels, COUNTS, strict=True), 1):
        for number in range(1, count + 1):
            weights[f"block{block}_conv{number}"] = _layer(random, (3, 3, before, channels))
            before = channels
    cells = (WIDTH.side // 32) ** 2
    weights["fc1"] = _layer(random, (cells * before, WIDTH.dense))
    weights["fc2"] = _layer(random, (WIDTH.dense, WIDTH.dense))
    weights["predictions"] = _layer(random, (WIDTH.dense, 10))
    return weights


def caffe_weights(seed=0):
    """Of SqueezeNet, in the layout of Caffe: by layer (kernel, bias)."""
    random = np.random.default_rng(seed)
    weights = {"conv1": _layer(random, (96, 3, 7, 7), outputs=0)}
    squeezed, before = (16, 16, 32, 32, 48, 48, 64, 64), 96
    for number, count in enumerate(squeezed, 2):
        weights[f"fire{number}/squeeze1x1"] = _layer(random, (count, before, 1, 1), outputs=0)
        weights[f"fire{number}/expand1x1"] = _layer(random, (4 * count, count, 1, 1), outputs=0)
        weights[f"fire{number}/expand3x3"] = _layer(random, (4 * count, count, 3, 3), outputs=0)
        before = 8 * count
    weights["conv10"] = _layer(random, (1000, 512, 1, 1), outputs=0)
    return weights


def torchvision_vgg16(weights, side=WIDTH.side // 32):
    """Weights of Keras as torchvision calls and lays out the same: red first, flattened with the channels first."""
    numbers = iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    found = {}
    for name, (kernel, bias) in weights.items():
        if name.startswith("block"):
            ours = f"features.{next(numbers)}"
            found[f"{ours}.weight"] = np.moveaxis(kernel, (3, 2), (0, 1))
        else:
            ours = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}[name]
            matrix = kernel
            if name == "fc1":
                rows = [
                    kernel[(y * side + x) * WIDTH.channels[-1] + channel]
                    for channel in range(WIDTH.channels[-1])
                    for y in range(side)
                    for x in range(side)
                ]
                matrix = np.array(rows)
            found[f"{ours}.weight"] = matrix.T
        found[f"{ours}.bias"] = bias
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def compressed(weights, seed=0):
    """The bytes that SqueezeNet's authors publish, of weights with 255 values and some zeros; and these weights."""
    random = np.random.default_rng(seed)
    counts, layers, kept = [], [], {}
    for name, (kernel, bias) in weights.items():
        codebook = np.concatenate([[0.0], random.normal(0, 0.1, 255)]).astype("<f4")
        codes = random.integers(1, 256, kernel.size).astype(np.uint8)
        codes[random.random(kernel.size) < 0.5] = 0
        kept[name] = (codebook[codes].reshape(kernel.shape), bias.astype("<f4"))
        places, skips = [], []
        last = -1
        for place in np.flatnonzero(codes):
            # More than 15 zeros need a stop in between, whose weight is a zero itself.
            while place - last > 16:
                last += 16
                places.append(last)
                skips.append(15)
            skips.append(place - last - 1)
            places.append(place)
            last = place
        pairs = np.array([*skips, 0] if len(skips) % 2 else skips, np.uint8)
        counts.append(len(places))
        packed = pairs[::2] | pairs[1::2] << 4
        layers.append(codebook.tobytes() + kept[name][1].tobytes() + codes[places].tobytes() + packed.tobytes())
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(layers), kept


def _layer(random, shape, outputs=-1):
    inputs = np.prod(shape) / shape[outputs]
    return (
        random.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32),
        random.normal(0, 0.1, shape[outputs]).astype(np.float32),
    )
