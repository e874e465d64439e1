"""Initial weights: those of Caffe's fillers (filler.hpp), and those of He et al. 2015 for networks of ReLUs."""

from __future__ import annotations

import math

from torch import nn


def fill_gaussian(layer: nn.Conv2d | nn.Linear, deviation: float, bias: float) -> None:
    """Caffe's "gaussian" with mean 0, and a constant bias."""
    nn.init.normal_(layer.weight, std=deviation)
    _fill_bias(layer, bias)


def fill_xavier(layer: nn.Conv2d | nn.Linear, bias: float) -> None:
    """Caffe's "xavier", uniform with variance 1 / fan-in (not that of Glorot & Bengio, who count fan-out too), and a
    constant bias.
    """
    bound = math.sqrt(3 / layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound)
    _fill_bias(layer, bias)


def fill_he(layer: nn.Conv2d | nn.Linear) -> None:
    """Gaussian with variance 2 / fan-in, which keeps the variance through a ReLU; no bias."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    _fill_bias(layer, 0.0)


def fill_zeros(layer: nn.Linear) -> None:
    """For the layer before the softmax: confident wrong guesses at the start lead some seeds into a plateau that SGD
    takes epochs to leave.
    """
    nn.init.zeros_(layer.weight)
    _fill_bias(layer, 0.0)


def _fill_bias(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    assert layer.bias is not None
    nn.init.constant_(layer.bias, value)
