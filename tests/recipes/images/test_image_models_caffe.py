"""CaffeNet, AlexNet and GoogLeNet against their published definitions (BVLC/caffe, models/*/train_val.prototxt)."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from echelon.errors import EchelonError
from echelon.recipes.images.models import AlexNet, CaffeNet, Classifier, GoogLeNet
from echelon.recipes.images.models.choice import MODELS, network, usual_crop
from echelon.recipes.images.models.googlenet import HEAD_WEIGHT, AuxiliaryHead, Inception
from echelon.recipes.images.models.pooling import pooled

CAFFE = [
    # name, num_output, kernel_size, stride, pad, group, std of weight_filler
    ("conv1", 96, 11, 4, 0, 1, 0.01),
    ("conv2", 256, 5, 1, 2, 2, 0.01),
    ("conv3", 384, 3, 1, 1, 1, 0.01),
    ("conv4", 384, 3, 1, 1, 2, 0.01),
    ("conv5", 256, 3, 1, 1, 2, 0.01),
]
BIASES = {
    "alexnet": {"conv2": 0.1, "conv4": 0.1, "conv5": 0.1, "fc6": 0.1, "fc7": 0.1},
    "caffenet": {"conv2": 1.0, "conv4": 1.0, "conv5": 1.0, "fc6": 1.0, "fc7": 1.0},
}
ALEXNET = {
    "conv1": (96, 55, 55),
    "norm1": (96, 55, 55),
    "pool1": (96, 27, 27),
    "conv2": (256, 27, 27),
    "norm2": (256, 27, 27),
    "pool2": (256, 13, 13),
    "conv3": (384, 13, 13),
    "conv4": (384, 13, 13),
    "conv5": (256, 13, 13),
    "pool5": (256, 6, 6),
    "fc6": (4096,),
    "fc7": (4096,),
    "fc8": (1000,),
}
CAFFENET = {**ALEXNET, "norm1": (96, 27, 27), "norm2": (256, 13, 13)}
GOOGLENET = {
    "stem.conv1": (64, 112, 112),
    "stem.pool1": (64, 56, 56),
    "stem.conv2_reduce": (64, 56, 56),
    "stem.conv2": (192, 56, 56),
    "stem.pool2": (192, 28, 28),
    "inception_3a": (256, 28, 28),
    "inception_3b": (480, 28, 28),
    "pool3": (480, 14, 14),
    "inception_4a": (512, 14, 14),
    "inception_4b": (512, 14, 14),
    "inception_4c": (512, 14, 14),
    "inception_4d": (528, 14, 14),
    "inception_4e": (832, 14, 14),
    "pool4": (832, 7, 7),
    "inception_5a": (832, 7, 7),
    "inception_5b": (1024, 7, 7),
    "pool5": (1024, 1, 1),
    "classifier": (1000,),
    "loss1.pool": (512, 4, 4),
    "loss1.conv": (128, 4, 4),
    "loss1.fc": (1024,),
    "loss1.classifier": (1000,),
    "loss2.pool": (528, 4, 4),
    "loss2.conv": (128, 4, 4),
    "loss2.fc": (1024,),
    "loss2.classifier": (1000,),
}
SHAPES = {"alexnet": ALEXNET, "caffenet": CAFFENET, "googlenet": GOOGLENET}
SIDES = {"alexnet": 227, "caffenet": 227, "googlenet": 224}
LEAST = {"alexnet": 39, "caffenet": 39, "googlenet": 47}
# Szegedy et al. 2015, table 1: input, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
TABLE_1 = [
    (192, 64, 96, 128, 16, 32, 32),
    (256, 128, 128, 192, 32, 96, 64),
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
    (832, 256, 160, 320, 32, 128, 128),
    (832, 384, 192, 384, 48, 128, 128),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small layers gain nothing from threads, which wait long for each other where processors are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(name: str, side: int, classes: int = 1000, init: str = "caffe") -> nn.Module:
    return network(name, classes, (side, side), init=init, width=8, depth=1)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_every_stage_has_the_published_shape(name):
    shapes: dict[str, tuple[int, ...]] = {}
    with FakeTensorMode():
        net = made(name, SIDES[name]).train()
        for path, module in net.named_modules():
            module.register_forward_hook(
                lambda _module, _inputs, output, path=path: (
                    shapes.update({path: tuple(output.shape[1:])}) if isinstance(output, Tensor) else None
                )
            )
        net(torch.zeros(2, 3, SIDES[name], SIDES[name]))
    assert {path: shapes[path] for path in SHAPES[name]} == SHAPES[name]


def expected_of_caffenet(classes: int) -> list[int]:
    counts, before = [], 3
    for _, outputs, kernel, _, _, group, _ in CAFFE:
        counts += [outputs * before // group * kernel**2, outputs]
        before = outputs
    for inputs, outputs in ((256 * 6 * 6, 4096), (4096, 4096), (4096, classes)):
        counts += [inputs * outputs, outputs]
    return counts


@pytest.mark.parametrize("name", ["alexnet", "caffenet"])
def test_alexnet_and_caffenet_have_the_published_parameters(name):
    with torch.device("meta"):
        net = made(name, 227)
    assert [p.numel() for p in net.parameters()] == expected_of_caffenet(1000)
    assert count(net) == 60_965_224
    for layer, outputs, kernel, stride, pad, group, _ in CAFFE:
        conv = getattr(net, layer)
        assert (conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.groups) == (
            outputs, kernel, stride, pad, group
        )  # fmt: skip


def convolved(before: int, after: int, kernel: int) -> int:
    return before * after * kernel**2 + after


def test_googlenet_has_the_published_parameters():
    stem = convolved(3, 64, 7) + convolved(64, 64, 1) + convolved(64, 192, 3)
    inceptions = sum(
        convolved(before, one, 1) + convolved(before, reduce3, 1) + convolved(reduce3, three, 3)
        + convolved(before, reduce5, 1) + convolved(reduce5, five, 5) + convolved(before, pool, 1)
        for before, one, reduce3, three, reduce5, five, pool in TABLE_1
    )  # fmt: skip
    heads = sum(convolved(before, 128, 1) + 2048 * 1024 + 1024 + 1024 * 1000 + 1000 for before in (512, 528))
    with torch.device("meta"):
        net = made("googlenet", 224)
    main = stem + inceptions + 1024 * 1000 + 1000
    assert main == 6_998_552
    assert count(net) - count(net.loss1) - count(net.loss2) == main
    assert count(net) == main + heads == 13_378_280
    assert [m.channels for m in net.modules() if isinstance(m, Inception)] == [
        one + three + five + pool for _, one, _, three, _, five, pool in TABLE_1
    ]


def test_the_order_of_pooling_and_normalisation_is_what_differs():
    with torch.device("meta"):
        orders = [[name for name, _ in made(model, 227).named_children()] for model in ("alexnet", "caffenet")]
    assert orders[0][2:4] == ["norm1", "pool1"]
    assert orders[1][2:4] == ["pool1", "norm1"]
    assert orders[0][6:8] == ["norm2", "pool2"]
    assert orders[1][6:8] == ["pool2", "norm2"]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("name", ["alexnet", "caffenet"])
def test_alexnet_and_caffenet_begin_with_caffes_fillers(name):
    torch.manual_seed(0)
    net = made(name, 67)
    deviations = {layer: deviation for layer, *_, deviation in CAFFE} | {"fc6": 0.005, "fc7": 0.005, "fc8": 0.01}
    for layer, deviation in deviations.items():
        weight, bias = getattr(net, layer).weight, getattr(net, layer).bias
        assert weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert abs(weight.mean().item()) < 0.02 * deviation
        assert set(bias.tolist()) == {torch.tensor(BIASES[name].get(layer, 0.0)).item()}


def test_googlenet_begins_with_caffes_fillers():
    """xavier_filler of filler.hpp: uniform in ±√(3 / fan_in)."""
    torch.manual_seed(0)
    net = made("googlenet", 64)
    last = (net.classifier, net.loss1.classifier, net.loss2.classifier)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3 + 9 * 6 + 1 + 2 * 3
    for layer in layers:
        bound = math.sqrt(3 / (layer.weight.numel() / layer.weight.shape[0]))
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert set(layer.bias.tolist()) == {0.0 if layer in last else torch.tensor(0.2).item()}


@pytest.mark.parametrize("name", SHAPES)
def test_the_smallest_images_are_those_that_it_says(name):
    least = LEAST[name]
    with FakeTensorMode():
        net = made(name, least, 10)
        given = net(torch.zeros(2, 3, least, least))
        assert (given if isinstance(given, Tensor) else given[0]).shape == (2, 10)
        wide = network(name, 10, (least, least + 30), init="he", width=8, depth=1)
        assert wide.eval()(torch.zeros(2, 3, least, least + 30)).shape == (2, 10)
    with pytest.raises(EchelonError, match=rf"{name} needs images of at least {least}x{least}.*got 100x{least - 1}"):
        network(name, 10, (least - 1, 100), init="he", width=8, depth=1)


def test_smaller_images_than_those_leave_nothing():
    """The limits are where pooling gives nothing, not more."""
    for side, conv, poolings in ((38, lambda n: (n - 11) // 4 + 1, 3), (46, lambda n: (n - 1) // 2 + 1, 3)):
        left = conv(side)
        for _ in range(poolings):
            left = pooled(left)
        assert left < 1 if side == 38 else pooled(left, 5, 3) < 1


@pytest.mark.parametrize("name", MODELS)
def test_the_usual_crop_is_the_published_one_of_larger_images(name):
    side = SIDES.get(name, 0)
    assert usual_crop(name, (256, 256)) == side
    assert usual_crop(name, (500, 375)) == side
    for size in ((side, side), (64, 64), (400, 60)):
        assert usual_crop(name, size) == 0


@pytest.mark.parametrize("init", ["caffe", "he"])
def test_gradients_reach_every_parameter_of_googlenet_and_of_its_heads(init):
    torch.manual_seed(0)
    net = made("googlenet", 64, classes=5, init=init).train()
    for head in (net.classifier, net.loss1.classifier, net.loss2.classifier):
        nn.init.normal_(head.weight, std=0.1)
    outputs = net(torch.randn(4, 3, 64, 64))
    assert [tuple(output.shape) for output in outputs] == [(4, 5)] * 3
    for index, output in enumerate(outputs):
        net.zero_grad()
        nn.functional.cross_entropy(output, torch.arange(4)).backward(retain_graph=True)
        reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        heads = {name.split(".")[0] for name in reached if name.startswith("loss")}
        assert heads == ({f"loss{index}"} if index else set())
        assert "stem.conv1.0.weight" in reached
        assert any(name.startswith("inception_4b") for name in reached) == (index != 1)
        assert any(name.startswith("inception_4e") for name in reached) == (index == 0)
    net.zero_grad()
    sum(output.square().sum() for output in outputs).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["alexnet", "caffenet"])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    net = made(name, 67, classes=5).train()
    net(100 * torch.randn(4, 3, 67, 67)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_evaluation_knows_neither_dropout_nor_heads(name):
    torch.manual_seed(0)
    net = made(name, 64, classes=5)
    model = Classifier(net, torch.zeros(3, 64, 64))
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    model.train()
    first, second = (given if isinstance(given, Tensor) else given[0] for given in (model(images), model(images)))
    assert not torch.equal(first, second)
    model.eval()
    before = model(images)
    assert torch.equal(before, model(images))
    for head in (module for module in net.modules() if isinstance(module, AuxiliaryHead)):
        for parameter in head.parameters():
            nn.init.constant_(parameter, math.nan)
    assert torch.equal(before, model(images))
    assert before.isfinite().all()


@pytest.mark.parametrize("name", SHAPES)
def test_the_rows_of_a_batch_do_not_touch_each_other_in_evaluation(name):
    torch.manual_seed(1)
    net = made(name, 64, classes=5).eval()
    x = 50 * torch.randn(3, 3, 64, 64)
    changed = x.clone()
    changed[1] += 100
    with torch.no_grad():
        before, after = net(x), net(changed)
    assert (before[1] != after[1]).any()
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])


def test_the_weight_of_the_heads_is_the_published_one():
    assert HEAD_WEIGHT == 0.3
    assert {AlexNet.SIDE, CaffeNet.SIDE, GoogLeNet.SIDE} == {227, 224}


def test_the_branches_of_an_inception_are_laid_side_by_side():
    torch.manual_seed(0)
    module = Inception(6, 2, 3, 4, 5, 6, 7)
    x = torch.randn(2, 6, 9, 9)
    starts = [0, *itertools.accumulate((2, 4, 6, 7))]
    given = module(x)
    assert given.shape == (2, 19, 9, 9)
    for (start, end), branch in zip(itertools.pairwise(starts), ("1x1", "3x3", "5x5", "pool")):
        assert torch.equal(given[:, start:end], module.branches[branch](x))
