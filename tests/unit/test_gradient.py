"""The gradients of a step, and when its loss is told."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.train.config import RunConfig
from echelon.train.gradient import add_gradients


def test_the_loss_is_told_before_the_last_backward_pass() -> None:
    """So that it can be exchanged while that runs."""
    happened: list[str] = []
    weight = nn.Parameter(torch.tensor(2.0))
    weight.register_hook(lambda gradient: happened.append("backward"))

    def objective(batch: Batch) -> tuple[Tensor, float]:
        return (weight * batch["x"]).sum(), len(batch)

    replica = SimpleNamespace(module=objective, microbatch=lambda last: nullcontext())
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
