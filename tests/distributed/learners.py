"""Small learners for real processes. What a step consumed is noted where the model consumed it: in the loss."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from echelon.data.batch import Batch
from echelon.train.learner import Learner, Loss

FEATURES, CLASSES, VOCABULARY = 8, 3, 12
TRAIN_ROWS, TEST_ROWS, FEW_ROWS = 203, 57, 2

consumed: list[int] = []
"""Row numbers of the training rows that the model of this process has seen in the current step."""


def note(model: nn.Module, batch: Batch, seconds: float = 0.0) -> None:
    """Notes training rows, and takes its time."""
    if model.training:
        consumed.extend(batch.rows.tolist())
        if seconds:
            time.sleep(seconds)


def scattered(model: nn.Module) -> nn.Module:
    """Initial weights that differ between processes whatever torch's seed is, so that rank 0's must be copied."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(0.3 * np.random.standard_normal(parameter.shape)))
    return model


@dataclass(frozen=True)
class Linear(Learner):
    """Least squares; every row weighs the same.

    seconds: that a step takes at least. row_seconds: the same for each of its rows. backward_seconds: that a backward
    pass takes at least. fail_at: the row number on which the loss raises.
    """

    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    lr: float = 0.01
    momentum: float = 0.0
    decay: float = 0.0
    seconds: float = 0.0
    row_seconds: float = 0.0
    fail_at: int = -1
    backward_seconds: float = 0.0

    def model(self) -> nn.Module:
        return scattered(nn.Linear(FEATURES, 1))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        note(model, batch, self.seconds + self.row_seconds * len(batch))
        if self.fail_at in batch.rows.tolist():
            raise ArithmeticError(f"row {self.fail_at} is the one that this learner cannot take")
        error = model(batch["x"]).squeeze(1).float() - batch["y"]
        total = error.square().sum()
        if self.backward_seconds and total.requires_grad:
            total.register_hook(lambda gradient: time.sleep(self.backward_seconds))
        return total, len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum)

    def rate(self, step: int) -> float:
        return 1 / (1 + self.decay * step)

    def metrics(self) -> dict[str, Metric]:
        return {"mse": MeanMetric(), "rows": SumMetric()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        total, weight = self.loss(model, batch)
        metrics["mse"].update(total / weight, weight)
        metrics["rows"].update(weight)


@dataclass(frozen=True)
class Tokens(Learner):
    """The next token of padded sequences; tokens weigh, so the weights of ranks are not those of their rows."""

    columns: ClassVar[tuple[str, ...]] = ("tokens",)
    lr: float = 0.5

    def model(self) -> nn.Module:
        return scattered(nn.Sequential(nn.Embedding(VOCABULARY, 6), nn.Tanh(), nn.Linear(6, VOCABULARY)))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        note(model, batch)
        tokens, lengths = batch["tokens"].long(), batch.lengths["tokens"]
        inside = torch.arange(tokens.shape[1])[None, 1:] < lengths[:, None]
        losses = F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
        return (losses * inside).sum(), inside.sum()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr)


@dataclass(frozen=True)
class Noisy(Learner):
    """A classifier with BatchNorm and dropout, trained by Adam, with a constant buffer as images have a mean.

    seconds: that a step takes at least.
    """

    columns: ClassVar[tuple[str, ...]] = ("x", "label")
    dropout: float = 0.3
    lr: float = 0.01
    seconds: float = 0.0

    def model(self) -> nn.Module:
        return scattered(_Normed(self.dropout))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        note(model, batch, self.seconds)
        return F.cross_entropy(model(batch["x"]).float(), batch["label"], reduction="sum"), len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self) -> dict[str, Metric]:
        return {"accuracy": MulticlassAccuracy(CLASSES, average="micro"), "rows": SumMetric()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["accuracy"].update(model(batch["x"]), batch["label"])
        metrics["rows"].update(len(batch))


class _Normed(nn.Module):
    shift: Tensor

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.linspace(-1 / 3, 1 / 3, FEATURES))
        self.net = nn.Sequential(
            nn.Linear(FEATURES, 12, bias=False),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(12, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x - self.shift)
        return logits
