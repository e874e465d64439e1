"""What Caffe's models are made of, against slow references: fillers, normalisation, pooling."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from echelon.recipes.images.models.lrn import LocalResponseNorm
from echelon.recipes.images.models.pooling import pooled
from echelon.recipes.images.models.weights import fill_gaussian, fill_xavier


def test_fillers_count_the_inputs_of_one_group():
    torch.manual_seed(0)
    grouped = nn.Conv2d(64, 64, 3, groups=4)
    fill_xavier(grouped, 0.5)
    assert grouped.weight.abs().max().item() == pytest.approx(math.sqrt(3 / (16 * 9)), rel=0.01)
    fill_gaussian(grouped, 2.0, 0.0)
    assert grouped.weight.std().item() == pytest.approx(2.0, rel=0.05)


def normalised(x: np.ndarray, alpha: float) -> np.ndarray:
    """lrn_layer.cpp: local_size 5, beta 0.75, k 1."""
    out = np.empty_like(x)
    for row, channel in np.ndindex(*x.shape[:2]):
        near = x[row, max(channel - 2, 0) : channel + 3]
        out[row, channel] = x[row, channel] / (1 + alpha / 5 * (near**2).sum(axis=0)) ** 0.75
    return out


@pytest.mark.parametrize("channels", [1, 2, 5, 9])
@pytest.mark.parametrize("alpha", [1e-4, 0.5])
def test_responses_are_normalised_as_in_caffe(channels, alpha):
    x = 50 * torch.randn(2, channels, 4, 3, generator=torch.Generator().manual_seed(channels), dtype=torch.float64)
    expected = torch.from_numpy(normalised(x.numpy(), alpha)).float()
    torch.testing.assert_close(LocalResponseNorm(alpha)(x.float()), expected)


def test_the_normalisation_has_the_gradient_of_torchs():
    x = 50 * torch.randn(3, 7, 5, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 7, 5, 4, generator=torch.Generator().manual_seed(1))
    gradients = []
    for norm in (LocalResponseNorm(1e-2), nn.LocalResponseNorm(5, 1e-2)):
        leaf = x.clone().requires_grad_()
        (norm(leaf) * weight).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_the_normalisation_keeps_type_and_layout_and_sums_in_float32():
    x = 50 * torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = LocalResponseNorm()(x.bfloat16())
    assert given.dtype == torch.bfloat16
    assert given.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(given, nn.LocalResponseNorm(5)(x.bfloat16().float()).bfloat16())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 3)])
def test_pooling_rounds_up_and_uses_only_what_is_inside(kernel, stride):
    """pooling_layer.cpp: ceil((size - kernel) / stride) + 1 windows, cut off at the border."""
    random = np.random.default_rng(0)
    for size in range(kernel - 1, 16):
        x = random.normal(size=(1, 1, size, size)).astype(np.float32)
        windows = math.ceil((size - kernel) / stride) + 1
        assert pooled(size, kernel, stride) == windows
        for pool, reduced in ((nn.MaxPool2d, np.max), (nn.AvgPool2d, np.mean)):
            given = pool(kernel, stride, ceil_mode=True)(torch.from_numpy(x))[0, 0].numpy()
            assert given.shape == (windows, windows)
            for i, j in np.ndindex(windows, windows):
                window = x[0, 0, stride * i : stride * i + kernel, stride * j : stride * j + kernel]
                assert given[i, j] == pytest.approx(reduced(window), rel=1e-5, abs=1e-6)
