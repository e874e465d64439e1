"""Numbers too small to matter are zero while torch computes, and only then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MinMetric

import echelon
from echelon.data.batch import Batch
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.denormals import flushed_denormals, flushes
from echelon.train.config import RunConfig

pytestmark = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush denormals")


def test_denormals_are_zero_within_the_block_only() -> None:
    assert not flushes()
    with flushed_denormals():
        assert flushes()
        with flushed_denormals():
            pass
        assert flushes(), "an inner block leaves the outer one as it is"
    assert not flushes()


@dataclass
class Watching(echelon.Learner):
    """Fails where denormals are computed with."""

    columns: ClassVar[tuple[str, ...] | None] = ("x",)

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        loss = model(batch["x"]).sum()
        loss.register_hook(lambda gradient: _require(flushes()))
        return loss, len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-3)

    def metrics(self) -> dict:
        return {"flushes": MinMetric()}

    def update(self, metrics: dict, model: nn.Module, batch: Batch) -> None:
        metrics["flushes"].update(float(flushes()))


def _require(condition: bool) -> None:
    assert condition, "the backward pass computes with denormals"


def test_a_training_and_an_evaluation_flush_them(tmp_path: Path) -> None:
    rows = {split: [{"x": np.ones((20, 1), np.float32)}] for split in ("train", "test")}
    dataset = write_dataset(str(tmp_path / "dataset"), Schema((Column("x", "float32", (1,)),)), rows)
    run = echelon.fit(Watching(), dataset, RunConfig(batch_size=10), run=tmp_path / "run")
    assert run.metrics["flushes"] == 1
    assert run.evaluate(dataset).metrics["flushes"] == 1
    assert not flushes(), "the user's own process is as it was"
