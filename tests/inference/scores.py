"""Learners that the workers of tests import, and points for them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric
from torchmetrics.classification import BinaryConfusionMatrix, BinaryROC

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.train.learner import Learner, Predicted

SCHEMA = Schema(
    (
        Column("id", "int64"),
        Column("x", "float32", (3,)),
        Column("y", "float32"),
        Column("name", "string"),
        Column("weight", "float16"),
        Column("key", "string"),
    )
)


def points_of(ids: np.ndarray) -> dict:
    """Points of which each value follows from the id."""
    x = np.stack([np.sin(ids), np.cos(ids), ids % 5], axis=1).astype(np.float32)
    return {
        "id": ids,
        "x": x,
        "y": x @ np.float32([1, 2, 3]),
        "name": [f"point {i}" for i in ids],
        "weight": (ids % 7).astype(np.float16),
        "key": [f"{i:05d}" for i in ids],
    }


def write_points(url: str, rows: Mapping[str, int]) -> Dataset:
    """A shuffled dataset; the ids count through its splits."""
    ends = np.cumsum([0, *rows.values()])
    batches = {
        split: [points_of(np.arange(first, first + count))] if count else []
        for (split, count), first in zip(rows.items(), ends, strict=False)
    }
    return write_dataset(url, SCHEMA, batches, row_group_mb=0.001)


@dataclass
class Scores(Learner):
    """Fits y. `predict` gives a score, and one more column that depends on `also`.

    also: "width" for a tensor as wide as the largest id of the batch, "lengths" for tensors as long as each row's id,
    "name" for a column that the dataset has, "nothing" for an error.
    """

    columns: ClassVar[tuple[str, ...] | None] = ("x", "y")
    also: str = ""

    def model(self) -> nn.Module:
        return nn.Linear(3, 1)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        return ((model(batch["x"])[:, 0] - batch["y"]) ** 2).sum(), float(len(batch))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.01)

    def metrics(self) -> dict[str, Metric]:
        return {"squared_error": MeanSquaredError()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["squared_error"].update(model(batch["x"])[:, 0], batch["y"])
        for name in metrics.keys() & {"fifths", "above"}:
            metrics[name].update((batch["x"][:, 2] + 1) / 5, (batch["y"] > 0).long())

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Predicted]:
        scores: dict[str, Predicted] = {"score": model(batch["x"])[:, 0]}
        fifths = batch["x"][:, 2].long().tolist()
        if self.also == "width":
            scores["wide"] = torch.zeros(len(batch), 2 + int(max(fifths)))
        elif self.also == "lengths":
            scores["long"] = [torch.arange(float(n)) for n in fifths]
        elif self.also == "name":
            scores["name"] = ["mine"] * len(batch)
        elif self.also == "nothing":
            raise RuntimeError("there is nothing to predict")
        return scores


@dataclass
class Counted(Scores):
    """Measures more than numbers: how y is above 0 by the fifth of the id, as a matrix and as three curves."""

    def arrays(self) -> dict[str, Metric]:
        return {"fifths": BinaryConfusionMatrix(), "above": BinaryROC(thresholds=[0.25, 0.75])}


@dataclass
class Noted(Scores):
    """Leaves a file in the folder `notes` whenever a model is made."""

    notes: str = ""

    def model(self) -> nn.Module:
        (Path(self.notes) / uuid.uuid4().hex).touch()
        return super().model()


@dataclass
class ReadsAll(Scores):
    """Names no columns."""

    columns: ClassVar[tuple[str, ...] | None] = None
