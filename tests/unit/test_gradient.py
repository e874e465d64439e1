"""The gradients of a step, and when its loss is told."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from echelon.comm import Comm
from echelon.data.batch import Batch
from echelon.sync import AllReduce
from echelon.train.config import RunConfig
from echelon.train.gradient import add_gradients
from echelon.train.learner import Objective
from echelon.world import World


def test_the_loss_is_told_before_the_last_backward_pass() -> None:
    """So that it can be exchanged while that runs."""
    happened: list[str] = []
    weight = nn.Parameter(torch.tensor(2.0))
    weight.register_hook(lambda gradient: happened.append("backward"))

    def objective(batch: Batch) -> tuple[Tensor, float]:
        return (weight * batch["x"]).sum(), len(batch)

    replica = SimpleNamespace(module=objective, microbatch=lambda last: nullcontext(), takes_means=False)
    learner = SimpleNamespace(prepare=lambda batch, draw: batch)
    batch = Batch({"x": torch.arange(5.0)}, torch.arange(5))
    config = RunConfig(microbatch=2).resolved(1)
    found = add_gradients(
        replica, learner, config, batch, 0, (0, 1, 0), torch.device("cpu"),
        lambda loss, rows: happened.append(f"{loss:g} of {rows:g}"),
    )  # fmt: skip
    assert happened == ["backward", "backward", "20 of 5", "backward"]
    assert found == (20, 5)
    assert weight.grad == 10


@pytest.mark.parametrize("microbatch", [2, 100])
@pytest.mark.parametrize("unit", [1.0, 0.0], ids=["weighted", "without weight"])
def test_gradients_of_the_mean(microbatch: int, unit: float) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    objective = Objective(module, lambda model, batch: (model(batch["x"][:, None]).square().sum(), unit * len(batch)))
    replica = AllReduce().start(objective, Comm(World()), torch.optim.SGD(module.parameters()))
    learner = SimpleNamespace(prepare=lambda batch, draw: batch)
    batch = Batch({"x": torch.arange(5.0)}, torch.arange(5))
    config = RunConfig(microbatch=microbatch).resolved(1)
    told: list[tuple[float, float]] = []
    device = torch.device("cpu")
    add_gradients(replica, learner, config, batch, 0, (0, 1, 0), device, lambda *what: told.append(what))
    assert told == [(4 * 30, 5 * unit)], "the loss stays a sum"
    assert module.weight.grad.item() == pytest.approx(2 * 2 * 30 / 5 * unit)
