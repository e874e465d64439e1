"""Small learners that the workers of tests import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.train.learner import Learner, Loss

if TYPE_CHECKING:
    from torchmetrics import Metric

SCHEMA = Schema((Column("x", "float32", (4,)), Column("y", "float32")))


def write_line(url: str, rows: int = 512) -> Dataset:
    """Rows of a linear function."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    y = x @ np.float32([1, -2, 3, 0.5])
    split: Mapping[str, slice] = {"train": slice(0, rows * 3 // 4), "test": slice(rows * 3 // 4, rows)}
    return write_dataset(url, SCHEMA, {name: [{"x": x[part], "y": y[part]}] for name, part in split.items()})


@dataclass
class Line(Learner):
    """Linear regression."""

    lr: float = 0.1

    def model(self) -> nn.Module:
        return nn.Linear(4, 1)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.lr)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return ((model(batch["x"]).squeeze(1) - batch["y"]) ** 2).sum(), len(batch)

    def metrics(self) -> dict[str, Metric]:
        # It takes as long as torch, and is needed for an evaluation only.
        from torchmetrics.regression import MeanSquaredError

        return {"mse": MeanSquaredError()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["mse"].update(model(batch["x"]).squeeze(1), batch["y"])


@dataclass
class Unhurried(Line):
    """A step takes a while, so that there is time to break something.

    pause: seconds of a step. width: of a hidden layer, which makes the model larger: 24 bytes each; 0 for none.
    """

    pause: float = 0.1
    width: int = 0

    def model(self) -> nn.Module:
        if not self.width:
            return super().model()
        return nn.Sequential(nn.Linear(4, self.width), nn.ReLU(), nn.Linear(self.width, 1))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        # The output is a sum over the hidden layer.
        return torch.optim.SGD(model.parameters(), lr=self.lr / max(1, self.width))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        time.sleep(self.pause)
        return super().loss(model, batch)


@dataclass
class Mortal(Line):
    """One of its processes kills itself in mid-training, once.

    grave: a file that is written on the way out. at: calls of the loss that it lives for. reach: how many Javas it
    takes with it: that of its executor, and that of Spark's worker on the host, which would start another.
    """

    grave: str = ""
    at: int = 30
    reach: int = 0

    def __post_init__(self) -> None:
        self._calls = 0

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        self._calls += 1
        if self._calls == self.at and self._dies():
            javas = [parent.pid for parent in psutil.Process().parents() if parent.name() == "java"]
            for process in (*reversed(javas[: self.reach]), os.getpid()):
                os.kill(process, signal.SIGKILL)
        return super().loss(model, batch)

    def _dies(self) -> bool:
        try:
            with Path(self.grave).open("x"):
                return True
        except FileExistsError:
            return False


@dataclass
class Faulty(Line):
    """Its loss raises at the third step."""

    def __post_init__(self) -> None:
        self._calls = 0

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        self._calls += 1
        if self._calls == 3:
            raise ZeroDivisionError("the user's own mistake")
        return super().loss(model, batch)


class Table(nn.Module):
    """A number for each row from a table of 300 MB, of which it uses little."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(18_750_000, 4)
        self.line = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(x + self.table((x[:, 0] * 1000).abs().long()))


@dataclass
class Wide(Line):
    """A model of 300 MB."""

    def model(self) -> nn.Module:
        return Table()
