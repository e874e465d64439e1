"""Workers evaluate a split together, and rank 0 computes the metrics of all."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from learners import FEATURES, TEST_ROWS, Linear
from together import together
from torch import nn
from torchmetrics import CatMetric, MeanMetric, Metric

from echelon.comm import Comm
from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate
from echelon.world import World

CONFIG = RunConfig(batch_size=8).resolved(1)


class Scores(Linear):
    """Holds a number of each row."""

    def metrics(self) -> dict[str, Metric]:
        return {"mse": MeanMetric()}

    def arrays(self) -> dict[str, Metric]:
        return {"scores": CatMetric()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        errors = model(batch["x"])[:, 0] - batch["y"]
        metrics["mse"].update(errors.square())
        if "scores" in metrics:
            metrics["scores"].update(errors)


class Unmergeable(Scores):
    """Has a metric whose parts nobody can put together."""

    def metrics(self) -> dict[str, Metric]:
        mse = super().metrics()["mse"]
        mse._reductions = dict.fromkeys(mse._reductions)
        return {"mse": mse}


def model() -> nn.Module:
    linear = nn.Linear(FEATURES, 1)
    nn.init.constant_(linear.weight, 0.1)
    nn.init.zeros_(linear.bias)
    return linear


def _evaluated(learner: Scores, dataset: Dataset, comm: Comm) -> object:
    comm.deadline("an evaluation", 40)
    start = time.perf_counter()
    try:
        return asdict(evaluate(learner, model(), dataset, "test", CONFIG, comm))
    except EchelonError as error:
        return [str(error), time.perf_counter() - start]


def test_all_ranks_get_what_one_process_computes(tmp_path: Path, dataset: Dataset) -> None:
    alone = evaluate(Scores(), model(), dataset, "test", CONFIG, Comm(World()))
    first, *others = together(3, tmp_path, partial(_evaluated, Scores(), dataset))
    assert others == [first, first]
    assert first["metrics"] == pytest.approx(alone.metrics, rel=1e-6)
    assert len(first["arrays"]["scores"]) == TEST_ROWS
    torch.testing.assert_close(torch.tensor(first["arrays"]["scores"]), torch.tensor(alone.arrays["scores"]))


def test_what_cannot_be_computed_is_an_error_everywhere_and_nobody_waits(tmp_path: Path, dataset: Dataset) -> None:
    for message, seconds in together(2, tmp_path, partial(_evaluated, Unmergeable(), dataset)):
        assert "metric 'mse' (MeanMetric) cannot be merged over workers" in message
        assert seconds < 20
