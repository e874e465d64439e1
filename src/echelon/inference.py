"""Evaluation and prediction of a finished run over a dataset, in this process or by tasks of Spark.

The rows are cut into contiguous spans, one a task. Every task loads the same checkpoint and reads its own rows; what
comes back to the driver are metric states or the description of a written file, never rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from echelon.data.cells import encode
from echelon.data.commit import commit, start
from echelon.data.manifest import DataFile, Dataset
from echelon.data.part_writer import PartWriter
from echelon.data.schema import Schema
from echelon.data.storage import open_storage
from echelon.driver import Place
from echelon.errors import DataError, EchelonError
from echelon.train.checkpoint import Checkpoint
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate_span, evaluation_split, metrics_of, span_of
from echelon.train.learner import Learner
from echelon.train.metrics import compute_merged
from echelon.train.predict import predict_span, schema_of
from echelon.train.run import RunFolder
from echelon.train.trained import Trained, load_trained, newest_of
from echelon.world import default_device


@dataclass(frozen=True)
class Evaluation:
    """What a run reaches on a split. baseline: what the trivial predictor reaches."""

    split: str
    rows: int
    metrics: dict[str, float]
    baseline: dict[str, float]


@dataclass(frozen=True)
class Span:
    """Rows [start, end) of a split."""

    split: str
    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Work:
    """What every task needs; it is sent to the workers."""

    run: str
    dataset: Dataset
    learner: Learner
    checkpoint: Checkpoint
    config: RunConfig

    def load(self) -> Trained:
        """The model on this worker's device."""
        torch.set_num_threads(self.config.cpus_per_worker)
        return load_trained(RunFolder(self.run), self.learner, self.checkpoint, default_device())


def evaluate_run(
    folder: RunFolder,
    dataset: Dataset,
    place: Place,
    *,
    split: str | None = None,
    learner: Learner | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """The metrics over every row of a split, once each.

    Args:
        split: default val, else test, else the only one. batch_size: rows of a forward pass; default the run's.

    Raises:
        EchelonError: there is no such split or no checkpoint, or the dataset lacks a column.
    """
    split = evaluation_split(dataset, split) or _only(dataset)
    rows = dataset.rows(split)
    work = _work(folder, dataset, learner, batch_size)
    states = _over(place, _EvaluateSpan(work), _spans(dataset, [split], place.workers))
    metrics = compute_merged(metrics_of(work.learner), states)
    return Evaluation(split, rows, metrics, work.learner.baseline(dataset, split))


def predict_run(
    folder: RunFolder,
    dataset: Dataset,
    out: str,
    place: Place,
    *,
    split: str | None = None,
    learner: Learner | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Writes a prediction for every row, in order and with its key, as a dataset with the same splits.

    Args:
        split: default all of them. overwrite: whether a dataset at `out` may be replaced.

    Raises:
        EchelonError: the learner predicts nothing, there is no checkpoint, or there is a dataset at `out`.
    """
    if split is not None and split not in dataset.splits:
        raise EchelonError(f"{dataset.url} has no split '{split}'; there are: {', '.join(dataset.splits)}")
    work = _work(folder, dataset, learner, batch_size)
    storage = open_storage(out)
    start(storage, overwrite=overwrite)
    spans = _spans(dataset, [split] if split else [s for s in dataset.splits if dataset.rows(s)], place.workers)
    parts = [json.loads(part) for part in _over(place, _PredictSpan(work, out), spans)]
    if not parts:
        raise DataError(f"{dataset.url} has no rows to predict")
    files: dict[str, list[DataFile]] = {}
    for span, part in zip(spans, parts, strict=True):
        files.setdefault(span.split, []).append(DataFile.from_json(part["file"]))
    info = {"run": folder.url, "step": work.checkpoint.step, "dataset": dataset.url}
    return commit(
        storage,
        Schema.from_json(parts[0]["schema"]),
        {name: tuple(of_split) for name, of_split in files.items()},
        info=info,
        shuffled=False,
    )


class _EvaluateSpan:
    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, span: Span) -> bytes:
        work, trained = self._work, self._work.load()
        return evaluate_span(work.learner, trained.model, work.dataset, span.split, (span.start, span.end), work.config)


class _PredictSpan:
    def __init__(self, work: Work, out: str) -> None:
        self._work, self._out = work, out

    def __call__(self, span: Span) -> bytes:
        work, trained = self._work, self._work.load()
        schema, writer = None, None
        for columns in predict_span(
            work.learner, trained.model, work.dataset, span.split, (span.start, span.end), work.config
        ):
            if writer is None or schema is None:
                schema = schema_of(columns)
                # A task that Spark runs twice writes two files; the driver counts the one that it hears of.
                writer = PartWriter(open_storage(self._out), span.split, schema, span.number, uuid.uuid4().hex[:8])
            writer.write(encode(schema, columns))
        if writer is None or schema is None:
            raise AssertionError(f"{span} is empty")
        return json.dumps({"file": writer.close().to_json(), "schema": schema.to_json()}).encode()


def _work(folder: RunFolder, dataset: Dataset, learner: Learner | None, batch_size: int | None) -> Work:
    config, learner = folder.config, learner or folder.learner
    learner.check(dataset)
    if batch_size is not None:
        config = replace(config, eval_batch_size=batch_size)
    return Work(folder.url, dataset, learner, newest_of(folder), config)


def _spans(dataset: Dataset, splits: list[str], parts: int) -> list[Span]:
    """Up to `parts` spans of each split, none of them empty."""
    spans = []
    for split in splits:
        rows = dataset.rows(split)
        bounds = [span_of(rows, part, min(parts, rows)) for part in range(min(parts, rows))]
        spans += [Span(split, number, first, end) for number, (first, end) in enumerate(bounds)]
    return spans


def _over(place: Place, function: Callable[[Span], bytes], spans: list[Span]) -> list[bytes]:
    """The function's results in the order of the spans."""
    if not place.on_spark:
        return [function(span) for span in spans]
    from echelon.spark.job import run_tasks
    from echelon.spark.session import session

    results: list[Any] = run_tasks(session(place.master, place.workers, place.conf, gang=False), function, spans)
    return results


def _only(dataset: Dataset) -> str:
    splits = [split for split in dataset.splits if dataset.rows(split)]
    if len(splits) != 1:
        raise EchelonError(f"{dataset.url} has the splits {', '.join(splits) or 'none with rows'}: choose one")
    return splits[0]
