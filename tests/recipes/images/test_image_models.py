"""The networks against slow references, and against the figures that Caffe gives for its own."""

import numpy as np
import pytest
import torch
from torch import nn

from echelon.errors import EchelonError
from echelon.recipes.images.models import Classifier, Quick, ResNet


def caffe_pooled(size: int) -> int:
    """Output of a 3×3 pooling with stride 2 by the formula of Caffe's pooling_layer.cpp."""
    return int(np.ceil((size - 3) / 2)) + 1


@pytest.mark.parametrize("size", [(32, 32), (33, 40), (8, 64), (31, 9)])
def test_quick_pools_as_caffe_does(size):
    net = Quick(10, size, "he")
    shape = size
    x = torch.zeros(1, 3, *size)
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            shape = (caffe_pooled(shape[0]), caffe_pooled(shape[1]))
            assert tuple(x.shape[2:]) == shape
    assert x.shape == (1, 10)


def test_the_mean_of_a_window_over_the_border_counts_the_pixels_inside():
    pool = Quick(10, (32, 32), "he")[5]
    x = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    for row, column in np.ndindex(3, 3):
        inside = x[0, 0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        torch.testing.assert_close(pool(x)[0, 0, row, column], inside.mean())


def test_quick_has_the_parameters_of_cifar10_quick():
    counts = [p.numel() for p in Quick(10, (32, 32), "caffe").parameters()]
    assert counts == [2400, 32, 25600, 32, 51200, 64, 65536, 64, 640, 10]
    assert sum(counts) == 145_578


def test_quick_begins_with_caffes_gaussians():
    torch.manual_seed(0)
    layers = [layer for layer in Quick(10, (32, 32), "caffe") if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, deviation in zip(layers, (1e-4, 0.01, 0.01, 0.1, 0.1)):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
        assert not layer.bias.any()


def test_quick_refuses_images_that_its_pooling_leaves_nothing_of():
    Quick(10, (8, 8), "he")(torch.zeros(1, 3, 8, 8))
    with pytest.raises(EchelonError, match=r"at least 8x8.*7x20"):
        Quick(10, (20, 7), "he")


def shifted(image: np.ndarray, mean: np.ndarray, window: tuple[int, int, int], seen: tuple[int, int], pad: int):
    """What a network sees of an image [3, H, W], by the plainest way."""
    padded = np.pad(image.astype(np.float32) - mean, ((0, 0), (pad, pad), (pad, pad)))
    top, left, mirror = window
    cut = padded[:, top : top + seen[0], left : left + seen[1]]
    return cut[:, :, ::-1] if mirror else cut


@pytest.mark.parametrize(("size", "crop", "pad"), [((6, 9), 0, 2), ((6, 9), 4, 0), ((6, 9), 5, 3), ((6, 6), 0, 0)])
def test_a_window_is_cut_from_the_centred_and_padded_image(size, crop, pad):
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (40, 3, *size), dtype=np.uint8)
    mean = random.uniform(0, 255, (3, *size)).astype(np.float32)
    model = Classifier(nn.Identity(), torch.from_numpy(mean), scale=0.5, crop=crop, pad=pad)
    seen = (crop, crop) if crop else size
    room = [size[axis] + 2 * pad - seen[axis] + 1 for axis in (0, 1)]
    windows = np.stack([random.integers(0, n, 40) for n in (*room, 2)], axis=1)
    got = model(torch.from_numpy(images), torch.from_numpy(windows)).numpy()
    for image, window, result in zip(images, windows, got):
        np.testing.assert_allclose(result, 0.5 * shifted(image, mean, tuple(window), seen, pad), rtol=1e-6)


def test_without_windows_the_centre_is_seen():
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (3, 3, 8, 11), dtype=np.uint8)
    model = Classifier(nn.Identity(), torch.full((3, 8, 11), 100.0), crop=4, pad=3)
    np.testing.assert_array_equal(model(torch.from_numpy(images)).numpy(), images[:, :, 2:6, 3:7] - np.float32(100))


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(EchelonError, match="--crop 9 does not fit into images of 20x8"):
        Classifier(nn.Identity(), torch.zeros(3, 8, 20), crop=9)


@pytest.mark.parametrize("net", [Quick(5, (16, 16), "he"), ResNet(5, 8, 2, (16, 16)), ResNet(5, 16, 1, (40, 33))])
def test_the_rows_of_a_batch_do_not_touch_each_other(net):
    size = (40, 33) if isinstance(net, ResNet) and net.stem[0].stride == (2, 2) else (16, 16)
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(4, 3, *size)
    changed = x.clone()
    changed[2] += 1
    before, after = net.train()(x), net(changed)
    assert (before[2] != after[2]).any()
    torch.testing.assert_close(before[[0, 1, 3]], after[[0, 1, 3]])
    torch.testing.assert_close(net(x[:1]), before[:1])


@pytest.mark.parametrize(("side", "kept"), [(8, 8), (28, 28), (32, 16), (33, 17), (56, 28), (224, 28), (256, 16)])
def test_the_stem_of_the_residual_network_leaves_at_most_28_pixels(side, kept):
    net = ResNet(3, 8, 1, (side, side))
    assert net.stem(torch.zeros(1, 3, side, side)).shape == (1, 8, kept, kept)
    assert net(torch.zeros(2, 3, side, side)).shape == (2, 3)


def test_the_residual_network_begins_without_opinions():
    logits = ResNet(4, 8, 1, (16, 16))(torch.randn(2, 3, 16, 16))
    assert not logits.any()
