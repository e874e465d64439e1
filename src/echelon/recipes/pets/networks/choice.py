"""The networks that there are, and what makes one of a vector of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echelon.errors import DataError
from echelon.recipes.pets.networks import squeezenet, vgg16
from echelon.recipes.pets.networks.network import Network

MEAN, DEVIATION = "mean", "deviation"
_BODY = "body."


@dataclass(frozen=True)
class Kind:
    """A network. body: makes it. side: of the square images that it takes. features: numbers that it gives for each.

    weights: the name of its weights; networks that differ only in what they make of the last layer share them.
    caffe_mean: of red, green and blue, which those who trained it in Caffe took away from the pixels.
    """

    body: Callable[[], nn.Module]
    side: int
    features: int
    weights: str
    caffe_mean: tuple[float, float, float]


_VGG16_MEAN, _SQUEEZENET_MEAN = (123.68, 116.779, 103.939), (123.0, 117.0, 104.0)
_SIDE, _CHANNELS, _CELLS = squeezenet.SIDE, squeezenet.CHANNELS, squeezenet.GRID[0] * squeezenet.GRID[1]
NETWORKS: Mapping[str, Kind] = {
    "vgg16": Kind(vgg16.VGG16, vgg16.FULL.side, vgg16.FULL.dense, "vgg16", _VGG16_MEAN),
    "squeezenet": Kind(
        lambda: squeezenet.SqueezeNet(squeezenet.Grid()), _SIDE, _CELLS * _CHANNELS, "squeezenet", _SQUEEZENET_MEAN
    ),
    "squeezenet-max": Kind(
        lambda: squeezenet.SqueezeNet(squeezenet.MeanAndMaximum()), _SIDE, 2 * _CHANNELS, "squeezenet", _SQUEEZENET_MEAN
    ),
}


def shapes_of(model: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's tensors in the order in which `network_of` takes them: "mean", "deviation" and those of
    its body by torchvision's names.
    """
    state = _hollow(model).state_dict()
    return {name.removeprefix(_BODY): tuple(tensor.shape) for name, tensor in state.items()}


def network_of(model: str, weights: NDArray[np.float32], precision: str = "fp32", mirrored: bool = False) -> Network:
    """A network for prediction, which shares the memory of most of its weights if they are computed with as they are.

    Args:
        weights: float32 [parameters], all tensors of `shapes_of` one after the other, each in C order.
        precision: fp32 or bf16, of the body. mirrored: see `Network`.

    Raises:
        DataError: they are more or fewer than the network has.
    """
    network, shapes = _hollow(model, mirrored), shapes_of(model)
    wanted = sum(map(_count, shapes.values()))
    if weights.shape != (wanted,):
        raise DataError(f"{model} has {wanted:,} numbers, but its weights are of the shape {list(weights.shape)}")
    with warnings.catch_warnings():
        # Nothing is written into them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        pieces = dict(_pieces(shapes, torch.from_numpy(weights)))
    state = {name: pieces[name.removeprefix(_BODY)] for name in network.state_dict()}
    network.load_state_dict(state, assign=True)
    if precision == "bf16":
        network.body.to(torch.bfloat16)
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def random_weights(model: str, seed: int = 0) -> NDArray[np.float32]:
    """Random numbers as weights, for trials: by He et al. 2015, so that features neither vanish nor explode."""
    random = np.random.default_rng(seed)
    tensors: dict[str, NDArray] = {}
    for name, shape in shapes_of(model).items():
        if len(shape) > 1:
            tensors[name] = random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        else:
            tensors[name] = np.zeros(shape, np.float32)
    tensors[MEAN], tensors[DEVIATION] = np.full(3, 127.5), np.full(3, 64.0)
    return flat_of(model, tensors)


def flat_of(model: str, tensors: Mapping[str, NDArray]) -> NDArray[np.float32]:
    """The tensors of a network, by the names of `shapes_of`, as the vector that `network_of` takes."""
    return np.concatenate([np.asarray(tensors[name], np.float32).reshape(-1) for name in shapes_of(model)])


def _hollow(model: str, mirrored: bool = False) -> Network:
    """A network whose tensors have shapes but no memory."""
    kind = NETWORKS[model]
    with torch.device("meta"):
        return Network(kind.body(), kind.side, kind.features, mirrored)


def _pieces(shapes: Mapping[str, tuple[int, ...]], weights: Tensor) -> Iterator[tuple[str, Tensor]]:
    start = 0
    for name, shape in shapes.items():
        end = start + _count(shape)
        yield name, weights[start:end].view(shape)
        start = end


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
