"""A learner that is small, and can be made to fail."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.train.learner import Learner


@dataclass
class LinearLearner(Learner):
    """Tells whether the sum of four numbers is positive. fail_after: training batches, 0 for never."""

    fail_after: int = 0

    def __post_init__(self) -> None:
        self._batches = 0

    def model(self) -> nn.Module:
        return nn.Linear(4, 1)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        self._batches += 1
        if self._batches == self.fail_after:
            raise RuntimeError("the power is gone")
        wanted = batch["y"].float()
        return F.binary_cross_entropy_with_logits(model(batch["x"])[:, 0], wanted, reduction="sum"), float(len(batch))

    def metrics(self) -> dict[str, Metric]:
        return {"accuracy": BinaryAccuracy()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["accuracy"].update(model(batch["x"])[:, 0], batch["y"])

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        return {"accuracy": 0.5}
