"""A learner for the tests of the library's face: a line through made points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric

from echelon.data.batch import Batch
from echelon.train.learner import Learner


@dataclass
class LineLearner(Learner):
    """Fits y to x · (1, 2, 3)."""

    columns: ClassVar[tuple[str, ...] | None] = ("x", "y")
    changeable: ClassVar[tuple[str, ...]] = ("horizon",)

    lr: float = 0.05
    horizon: int = 1

    def model(self) -> nn.Module:
        return nn.Linear(3, 1)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        return ((model(batch["x"])[:, 0] - batch["y"]) ** 2).sum(), float(len(batch))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr)

    def metrics(self) -> dict[str, Metric]:
        return {"squared_error": MeanSquaredError()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["squared_error"].update(model(batch["x"])[:, 0], batch["y"])

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        return {"fitted": model(batch["x"])[:, 0]}
