"""A learner whose parameters are a count: entry r is how often row r was applied, times the share of a worker."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric
from torchmetrics.classification import BinaryConfusionMatrix

from echelon.data.batch import Batch
from echelon.train.learner import Learner, Loss

ROWS, TEST_ROWS = 203, 57


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(torch.zeros(ROWS))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return self.count[x]


@dataclass(frozen=True)
class Counting(Learner):
    """Each row's loss falls with its own parameter at the rate 1, so that SGD with lr 1 counts rows.

    seconds: that a step takes. busy: the path of a file into which a worker writes its process, number of the row and
    all, in each step; "" for none.
    """

    columns: ClassVar[tuple[str, ...]] = ("number",)
    seconds: float = 0.0
    busy: str = ""
    fail_at: int = -1

    def model(self) -> nn.Module:
        return Counter()

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        if model.training:
            time.sleep(self.seconds)
            if self.busy:
                Path(self.busy, str(os.getpid())).touch()
            if self.fail_at in batch["number"].tolist():
                raise ArithmeticError(f"row {self.fail_at} is the one that this learner cannot take")
        return -model(batch["number"]).sum(), 1.0

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1.0)

    def metrics(self) -> dict[str, Metric]:
        return {"rows": SumMetric()}

    def arrays(self) -> dict[str, Metric]:
        return {"parities": BinaryConfusionMatrix()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["rows"].update(len(batch))
        metrics["parities"].update(batch["number"] % 2, batch["number"] % 2)
