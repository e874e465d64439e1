"""A recipe of one's own: a small network learns to name the class of each row of CSV files.

echelon demo tables:RECIPE shows all of it on real measurements; docs/recipes.md explains it.
"""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError
from echelon.recipes.recipe import Command, Demo, Recipe
from echelon.spark.prepare import Addition, Found, Problem, Rows, Summary, prepare_dataset
from echelon.train.config import RunConfig, option
from echelon.train.learner import Learner

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SOURCES = "a CSV file whose first line names its columns, or a folder of such files"


@dataclass(frozen=True)
class PrepareOptions:
    """How tables become a dataset."""

    label: str = option("label", "the column that names the class; all others are numbers")
    test_fraction: float = option(0.2, "part of the rows to test on")


@dataclass(frozen=True)
class TrainOptions:
    """What is trained."""

    hidden: int = option(32, "units of the hidden layer")
    lr: float = option(0.01, "learning rate of Adam")


@dataclass(frozen=True)
class ReadTable:
    """What a file holds, in a task of Spark. labelled: whether each row must have a class."""

    storage: Storage
    features: tuple[str, ...]
    label: str
    test_fraction: float
    labelled: bool

    def __call__(self, path: str) -> Iterator[Found]:
        keys, values, labels, splits = [], [], [], []
        rows = table(self.storage, path)
        require(rows, path, (*self.features, self.label) if self.labelled else self.features)
        for line in rows:
            key = f"{path}:{rows.line_num}"
            try:
                row = [float(line[name]) for name in self.features]
            except (TypeError, ValueError) as error:
                yield Problem(key, str(error))
                continue
            label = line.get(self.label) or ""
            if not all(map(math.isfinite, row)) or (self.labelled and not label):
                yield Problem(key, "a number or the class is missing")
                continue
            # By the row's key, so that a row is in the same split in every dataset that is made of these files.
            test = zlib.crc32(key.encode()) < self.test_fraction * 2**32
            keys.append(key)
            values.append(row)
            labels.append(label)
            splits.append("test" if test else "train")
        if keys:
            yield Rows({"features": np.array(values, np.float32), "label": labels, "key": keys}, splits)
            yield Counter(f"{split}/{label}" for split, label in zip(splits, labels, strict=True))


def table(storage: Storage, path: str) -> csv.DictReader[str]:
    """The rows of a CSV file by the names in its first line."""
    return csv.DictReader(io.StringIO(storage.read(path).decode("utf-8-sig"), newline=""))


def require(rows: csv.DictReader[str], path: str, names: Sequence[str]) -> Sequence[str]:
    """The columns of a table, which must have some."""
    there = rows.fieldnames or ()
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}, but {', '.join(there) or 'none at all'}: name the column of "
            "the classes with --label, and give tables that all have the same columns"
        )
    return there


def sums(split: str, rows: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    """Of some rows, what mean and deviation are made of: float64 [features]."""
    features = np.asarray(rows["features"], np.float64)
    return {"sum": features.sum(axis=0), "squares": (features**2).sum(axis=0)}


@dataclass(frozen=True)
class Conclude:
    """What belongs to the dataset beside its rows."""

    features: tuple[str, ...]
    label: str

    def __call__(self, summary: Summary) -> Addition:
        counts: dict[str, dict[str, int]] = {}
        for name, rows in sorted(summary.counts.items()):
            split, _, label = name.partition("/")
            counts.setdefault(split, {})[label] = rows
        info = {
            "features": list(self.features),
            "label": self.label,
            "counts": counts,
            "problems": {"count": summary.problems, "first": [[p.item, p.reason] for p in summary.reported]},
        }
        if "train" not in summary.rows:
            return Addition(info, {})
        mean, squares = (summary.sums["train"][name] / summary.rows["train"] for name in ("sum", "squares"))
        deviation = np.sqrt(np.maximum(squares - mean**2, 1e-12))
        return Addition(info, {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)})


class Standardised(nn.Module):
    """Numbers of many scales, float32 [n, features], with mean 0 and deviation 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


@dataclass
class TableLearner(Learner):
    """Learns to name the class of a row."""

    columns: ClassVar[tuple[str, ...] | None] = ("features", "label")

    features: list[str]
    label: str
    classes: list[str]
    hidden: int
    lr: float

    def model(self) -> nn.Module:
        count = len(self.features)
        layers = nn.Linear(count, self.hidden), nn.ReLU(), nn.Linear(self.hidden, len(self.classes))
        return nn.Sequential(Standardised(count), *layers)

    def initialise(self, model: nn.Module, dataset: Dataset) -> None:
        """A trained model has the scales of its training rows, so that it needs no dataset."""
        for name, buffer in model[0].named_buffers():  # type: ignore[index]
            buffer.copy_(torch.from_numpy(dataset.asset(name)))

    def check(self, dataset: Dataset) -> None:
        strange = {label for counts in dataset.info["counts"].values() for label in counts} - {*self.classes, ""}
        if dataset.info["features"] != self.features or strange:
            raise DataError(
                f"the model was trained on {self.features} and the classes {self.classes}, but {dataset.url} has "
                f"{dataset.info['features']} and the classes {sorted(strange)}: prepare it from tables of the same kind"
            )

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        numbers = [self.classes.index(label) if label else -1 for label in batch.strings("label")]
        return batch.replace(number=torch.tensor(numbers, device=batch["features"].device))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        return functional.cross_entropy(model(batch["features"]), batch["number"], reduction="sum"), len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def metrics(self) -> dict[str, Metric]:
        return {"accuracy": MulticlassAccuracy(len(self.classes), average="micro")}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        metrics["accuracy"].update(model(batch["features"]), batch["number"])

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of always giving the class that is the most frequent one in training."""
        counts = dataset.info["counts"]
        if unknown := counts[split].get(""):
            raise DataError(
                f"{unknown} of {dataset.rows(split)} rows to measure on have no class in the column '{self.label}': "
                "give tables that have it (predict needs none)"
            )
        usual = max(counts.get("train", counts[split]).items(), key=lambda item: item[1])[0]
        return {"accuracy": counts[split].get(usual, 0) / dataset.rows(split)}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        probability, number = model(batch["features"]).softmax(1).max(1)
        return {"predicted": [self.classes[i] for i in number.tolist()], "probability": probability}


def columns(source: Annotated[str, typer.Argument(help=SOURCES, metavar="SRC")]) -> str:
    """Lists the columns of tables."""
    storage, files = find(source)
    return "\n".join(f"{path}: {', '.join(table(storage, path).fieldnames or ())}" for path in files)


def find(source: str) -> tuple[Storage, list[str]]:
    """A CSV file, or those of a folder, and the storage that has them."""
    folder, _, name = source.rpartition("/")
    storage = open_storage((folder or ".") if name.endswith(".csv") else source)
    files = [name] if name.endswith(".csv") else [e.path for e in storage.list() if e.path.endswith(".csv")]
    if not files:
        raise DataError(f"there is no CSV file in {source}")
    return storage, files


def write_wine(folder: Path) -> str:
    """Writes the measurements of 178 wines as a table."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    folder.mkdir(parents=True)
    with (folder / "wine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*wine.feature_names, "label"])
        writer.writerows([*row, wine.target_names[number]] for row, number in zip(wine.data, wine.target, strict=True))
    return "178 wines of three growers, with 13 measurements each (UCI, Aeberhard & Forina 1992; from scikit-learn)"


class TableRecipe(Recipe):
    """Names the class of each row of CSV files."""

    sources = SOURCES
    prepare_options = PrepareOptions
    train_options = TrainOptions
    demo = Demo(write_wine, PrepareOptions(), TrainOptions(), {"epochs": 20})

    def prepare(
        self,
        session: SparkSession,
        source: str,
        url: str,
        options: PrepareOptions,
        *,
        fitting: Learner | None,
        overwrite: bool,
    ) -> Dataset:
        storage, files = find(source)
        if isinstance(fitting, TableLearner):
            features, label, test_fraction, labelled = tuple(fitting.features), fitting.label, 1.0, False
        else:
            label, test_fraction, labelled = options.label, options.test_fraction, True
            header = require(table(storage, files[0]), files[0], (label,))
            features = tuple(name for name in header if name != label)
        schema = Schema(
            (Column("features", "float32", (len(features),)), Column("label", "string"), Column("key", "string"))
        )
        read = ReadTable(storage, features, label, test_fraction, labelled)
        conclude = Conclude(features, label)
        dataset, _ = prepare_dataset(
            session, url, schema, files, read, conclude=conclude, sums_of=sums, overwrite=overwrite
        )
        return dataset

    def defaults(self, options: TrainOptions) -> Mapping[str, Any]:
        return {"epochs": 30, "batch_size": 32}

    def learner(self, dataset: Dataset, options: TrainOptions, config: RunConfig) -> Learner:
        classes = sorted(dataset.info["counts"]["train"])
        return TableLearner(dataset.info["features"], dataset.info["label"], classes, options.hidden, options.lr)

    def commands(self) -> Sequence[Command]:
        return (columns,)


RECIPE = TableRecipe()
