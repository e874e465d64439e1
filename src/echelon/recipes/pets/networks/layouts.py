"""The public layouts of weights, brought to the one that our networks have.

Ours is torchvision's: kernels [out, in, height, width], for red, green and blue; what the first dense layer takes is
flattened in the order of channels, rows, columns. Keras has kernels [height, width, in, out] and flattens in the order
of rows, columns, channels; its VGG16, as all that was trained in Caffe, takes blue, green and red without their means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.pets.networks.choice import DEVIATION, MEAN, NETWORKS, flat_of, shapes_of
from echelon.recipes.pets.networks.files import Tensors
from echelon.recipes.pets.networks.squeezenet import FIRES
from echelon.recipes.pets.networks.vgg16 import COUNTS

TORCHVISION, CAFFE = "torchvision", "caffe"
_FIRST = "features.0.weight"
_TORCHVISION_MEAN, _TORCHVISION_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TIMM = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
_BIAS, _MATRIX, _KERNEL = 1, 2, 4
"""How many axes a tensor of Keras has."""
_NAMES_SHOWN = 4


@dataclass(frozen=True)
class _Found:
    """Tensors by the names of our networks. scaling: of the pixels that they were trained on."""

    tensors: Mapping[str, NDArray]
    scaling: str


def brought(model: str, tensors: Tensors, scaling: str | None = None) -> NDArray[np.float32]:
    """The weights of a network from those of a file, as the vector that `network_of` takes.

    Args:
        scaling: what pixels become before the network: "torchvision", (red, green, blue / 255 - mean) / deviation with
            the numbers of ImageNet, or "caffe", blue, green, red minus their means; None goes by the layout.

    Raises:
        DataError: they are of no known layout, a tensor is missing, has another shape, or is not finite.
    """
    found = _recognised(model, tensors)
    taken = {name: value for name, value in found.tensors.items() if name in shapes_of(model)}
    if (scaling or found.scaling) == CAFFE:
        if _FIRST in taken:
            taken[_FIRST] = taken[_FIRST][:, ::-1]
        taken[MEAN], taken[DEVIATION] = np.array(NETWORKS[model].caffe_mean), np.ones(3)
    else:
        taken[MEAN], taken[DEVIATION] = (255 * np.array(v) for v in (_TORCHVISION_MEAN, _TORCHVISION_DEVIATION))
    _check(model, taken)
    return flat_of(model, taken)


def _recognised(model: str, tensors: Tensors) -> _Found:
    """
    Raises:
        DataError: the names of the tensors are of no known layout.
    """
    kind = NETWORKS[model].weights
    paths = {part for name in tensors for part in name.split("/")}
    if kind == "vgg16" and "block1_conv1" in paths:
        return _Found(_from_keras(tensors), CAFFE)
    if kind == "squeezenet" and "conv1/w" in tensors:
        return _Found(_from_caffe(tensors), CAFFE)
    for name in tensors:
        if name == _FIRST or name.endswith(f".{_FIRST}"):
            return _Found(_from_torch(tensors, name.removesuffix(_FIRST)), TORCHVISION)
    some = ", ".join(sorted(tensors)[:_NAMES_SHOWN]) or "none"
    raise DataError(f"they are no weights of {model} in a known layout; their tensors are called {some} …")


def _from_torch(tensors: Tensors, prefix: str) -> dict[str, NDArray]:
    """Of torchvision, or of timm, whose dense layers are convolutions. prefix: what wrappers put before the names."""
    named = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    for ours, theirs in _TIMM.items():
        for end in ("weight", "bias"):
            if (value := named.get(f"{theirs}.{end}")) is not None:
                named[f"{ours}.{end}"] = value.reshape(len(value), -1) if value.ndim > 1 else value
    return named


def _from_keras(tensors: Tensors) -> dict[str, NDArray]:
    """Of Keras' VGG16: every layer is a group of a kernel and a bias, whatever version of Keras named them."""
    layers: dict[str, dict[int, NDArray]] = {}
    for path, value in tensors.items():
        for part in path.split("/")[:-1]:
            layers.setdefault(part, {})[value.ndim] = value
    found: dict[str, NDArray] = {}
    channels = 0
    for theirs, ours in _keras_names().items():
        layer = layers.get(theirs, {})
        if _KERNEL in layer:
            found[f"{ours}.weight"] = layer[_KERNEL].transpose(3, 2, 0, 1)
            channels = len(found[f"{ours}.weight"])
        if _MATRIX in layer:
            matrix = layer[_MATRIX]
            found[f"{ours}.weight"] = (_channels_first(matrix, channels) if theirs == "fc1" else matrix).T
        if _BIAS in layer:
            found[f"{ours}.bias"] = layer[_BIAS]
    return found


def _keras_names() -> dict[str, str]:
    """The layers of Keras' VGG16, and what they are called here."""
    names: dict[str, str] = {}
    place = 0
    for block, count in enumerate(COUNTS, 1):
        for number in range(1, count + 1):
            names[f"block{block}_conv{number}"] = f"features.{place}"
            place += 2
        place += 1
    return {**names, "fc1": "classifier.0", "fc2": "classifier.3"}


def _channels_first(kernel: NDArray, channels: int) -> NDArray:
    """A dense layer's [rows * columns * channels, out] with the channels before rows and columns."""
    cells = len(kernel) // max(channels, 1)
    if not channels or cells * channels != len(kernel):
        return kernel
    return kernel.reshape(cells, channels, -1).swapaxes(0, 1).reshape(len(kernel), -1)


def _from_caffe(tensors: Tensors) -> dict[str, NDArray]:
    """Of SqueezeNet with the names of its authors: <layer>/w, [out, in, height, width], and <layer>/b."""
    names = {"conv1": "features.0"}
    for number, ours in enumerate(sorted(FIRES), 2):
        names[f"fire{number}/squeeze1x1"] = f"features.{ours}.squeeze"
        names |= {f"fire{number}/expand{size}": f"features.{ours}.expand{size}" for size in ("1x1", "3x3")}
    ends = {"w": "weight", "b": "bias"}
    return {
        f"{ours}.{ends[end]}": tensors[f"{theirs}/{end}"]
        for theirs, ours in names.items()
        for end in ends
        if f"{theirs}/{end}" in tensors
    }


def _check(model: str, tensors: Mapping[str, NDArray]) -> None:
    """
    Raises:
        DataError: a tensor of the network is missing, has another shape, or has numbers that are none.
    """
    for name, shape in shapes_of(model).items():
        if name not in tensors:
            without_top = " (a file without the top of the network lacks it)" if name.startswith("classifier") else ""
            raise DataError(f"they lack {name} of {model}{without_top}: give the weights of the whole network")
        if tensors[name].shape != shape:
            theirs = list(tensors[name].shape)
            raise DataError(f"their {name} has the shape {theirs} instead of {list(shape)}: are they those of {model}?")
        if not np.isfinite(tensors[name]).all():
            raise DataError(f"their {name} has numbers that are not finite: the file is damaged")
