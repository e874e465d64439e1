"""The output of a layer: equal to the model run by hand, whatever follows it, and refused where it is unclear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.errors import EchelonError
from echelon.train.features import FEATURES, Features, Layer, layer_of, layers_of
from echelon.train.learner import Learner, Predicted


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class Net(nn.Module):
    """Images [n, 2, 4, 4] to logits [n, 5], with layers of every kind. passes: how often `head` was computed."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Block(), nn.Flatten(), nn.Linear(48, 8))
        self.twice = nn.Tanh()
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.total = Total()
        self.wave = Wave()
        self.absent = Absent()
        self.auxiliary = nn.Linear(8, 5)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.twice(self.twice(self.body(x)))
        self.absent(y)
        y = self.rnn(y[:, None])[0][:, 0] + self.total(y) + self.wave(y).real
        if self.training:
            self.auxiliary(y)
        self.passes += 1
        return self.head(y)


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Wave(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(x.float(), x.float())


class Absent(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


@dataclass
class Sees(Learner):
    """catches: whether it hides all errors of its model, as a learner may that predicts with several."""

    catches: bool = False

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return Net().eval()

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        return model(batch["x"]).sum(), float(len(batch))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Predicted]:
        try:
            return {"score": model(batch["x"])[:, 0]}
        except Exception:
            if not self.catches:
                raise
            return {"score": torch.zeros(len(batch))}


def batch(rows: int, seed: int = 0) -> Batch:
    x = torch.randn(rows, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Batch({"x": x}, torch.arange(rows))


@pytest.mark.parametrize("catches", [False, True])
@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        ("body.0.conv", lambda net, x: net.body[0].conv(x)),
        ("body.0", lambda net, x: net.body[0](x)),
        ("body.2", lambda net, x: net.body(x)),
        ("head", lambda net, x: net(x)),
    ],
)
def test_features_are_what_the_layer_gives_in_every_batch(layer: str, by_hand, catches: bool) -> None:
    """The convolution is followed by a ReLU that works in place, which must change no batch, nor the first one."""
    learner = Sees(catches)
    net = learner.model()
    with torch.no_grad(), Features(layer).making(learner, net) as make:
        for seed, rows in enumerate((4, 4, 1)):
            some = batch(rows, seed)
            found = make(some)
            assert list(found) == [FEATURES]
            torch.testing.assert_close(found[FEATURES], by_hand(net, some["x"]), rtol=0, atol=0)


def test_nothing_after_the_layer_is_computed_once_it_is_known_to_be_called_once() -> None:
    learner = Sees()
    net = learner.model()
    assert isinstance(net, Net)
    with torch.no_grad(), Features("body.2").making(learner, net) as make:
        for seed in range(3):
            make(batch(4, seed))
    assert net.passes == 1
    learner.predict(net, batch(4))
    assert net.passes == 2, "the model is whole again"


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("twice", "is called 2 times in a prediction"),
        ("auxiliary", "takes no part in a prediction"),
        ("rnn", "gives a tuple, not one tensor"),
        ("absent", "gives nothing, not one tensor"),
        ("wave", r"gives complex numbers \(torch.complex64\)"),
        ("total", r"gives a tensor of the shape \[\] for 4 rows, not one entry a row"),
    ],
)
def test_what_is_no_column_is_refused(layer: str, told: str) -> None:
    learner = Sees()
    net = learner.model()
    features = Features(layer)
    refused = pytest.raises(EchelonError, match=f"the layer '{layer}' {told}: name another")
    with refused, torch.no_grad(), features.making(learner, net) as make:
        make(batch(4))
    assert layer_of(net, layer)._forward_hooks == {}


def test_an_unknown_layer_is_answered_with_those_that_there_are() -> None:
    net = Sees().model()
    for wrong, near in (("conv", "body.0.conv"), ("heads", "head"), ("bodi.2", "body.2")):
        with pytest.raises(EchelonError, match=f"no layer '{wrong}'; there are: {near}, ") as caught:
            layer_of(net, wrong)
        for name, _ in net.named_modules():
            assert f"{name}" in str(caught.value)
    with pytest.raises(EchelonError, match="there are: none"):
        layer_of(nn.Linear(1, 1), "0")


def test_layers_are_listed_with_the_shapes_that_they_will_have() -> None:
    learner = Sees()
    net = learner.model()
    listed = {layer.name: layer for layer in layers_of(learner, net, batch(2))}
    assert list(listed) == [name for name, _ in net.named_modules() if name]
    assert listed["body.0.conv"] == Layer("body.0.conv", "Conv2d", (3, 4, 4))
    assert listed["body.2"].shape == (8,)
    assert listed["rnn"] == Layer("rnn", "GRU", None, "gives a tuple, not one tensor")
    for name, layer in listed.items():
        with torch.no_grad(), Features(name).making(learner, net) as make:
            if layer.shape is None:
                with pytest.raises(EchelonError, match=re.escape(layer.fault)):
                    make(batch(2))
            else:
                assert make(batch(2))[FEATURES].shape == (2, *layer.shape)


def test_half_precision_becomes_float32() -> None:
    learner = Sees()
    half = torch.autocast("cpu", torch.bfloat16)
    with torch.no_grad(), half, Features("body.2").making(learner, learner.model()) as make:
        assert make(batch(4))[FEATURES].dtype == torch.float32


@dataclass
class Bare(Sees):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Softmax(1)).eval()


def test_the_layers_of_a_model_without_parameters_are_listed() -> None:
    learner = Bare()
    assert [(layer.name, layer.shape) for layer in layers_of(learner, learner.model(), batch(2))] == [
        ("0", (32,)),
        ("1", (32,)),
    ]
