"""A small network with Adam and a falling learning rate, without randomness of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric

from echelon.data.batch import Batch
from echelon.train.learner import Learner, Loss


@dataclass(frozen=True)
class Normed(Learner):
    columns: ClassVar[tuple[str, ...]] = ("weight",)
    lr: float = 0.01
    decay: float = 0.1

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(64, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))

    def target(self, batch: Batch) -> Tensor:
        return batch["weight"][:, :8].sum(1)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return (model(batch["weight"]).squeeze(1) - self.target(batch)).square().sum(), len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def rate(self, step: int) -> float:
        return 1 / (1 + self.decay * step)

    def metrics(self) -> dict[str, Metric]:
        return {"rows": SumMetric()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["rows"].update(len(batch))
