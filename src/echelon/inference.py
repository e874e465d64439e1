"""Evaluation and prediction of a finished run over a dataset, in this process or by tasks of Spark.

The rows are cut into contiguous spans, one a task. Every task loads the same checkpoint and reads its own rows; what
comes back to the driver are metric states or the description of a written file, never rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from echelon.data.cells import encode
from echelon.data.commit import check_free, commit, start
from echelon.data.manifest import DataFile, Dataset
from echelon.data.part_writer import PartWriter
from echelon.data.schema import Schema
from echelon.data.storage import Storage, open_storage
from echelon.driver import Place
from echelon.errors import DataError, EchelonError
from echelon.train.checkpoint import Checkpoint
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate_span, evaluation_split, metrics_of, span_of
from echelon.train.learner import Learner
from echelon.train.metrics import compute_merged
from echelon.train.predict import Columns, check_same, predict_span, schema_of
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained, newest_of
from echelon.world import default_device, threads

_ROWS_TO_TRY = 2


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


Use = Callable[[Work, nn.Module, Span], bytes]


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
    if not rows:
        raise DataError(f"the split '{split}' of {dataset.url} has no rows to evaluate on")
    work = _work(folder, dataset, learner, batch_size)
    states = _over(place, work, _evaluate, _spans(dataset, [split], place.workers))
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
    """Writes a prediction for every row, in order, as a dataset with the same splits.

    Beside what the learner predicts are the row's number, "row", and those columns by which the predictions are joined
    with what they are about: every number and string that the learner does not read, and "key".

    Args:
        split: default all of them. overwrite: whether a dataset at `out` may be replaced; nothing is deleted before
        the model has predicted something.

    Raises:
        EchelonError: the learner predicts nothing, there is no checkpoint, there is a dataset at `out`, or `out` is
        where the rows come from.
    """
    if split is not None and split not in dataset.splits:
        raise EchelonError(f"{dataset.url} has no split '{split}'; there are: {', '.join(dataset.splits)}")
    storage = open_storage(out)
    _check_apart(storage, dataset)
    check_free(storage, overwrite)
    work = _work(folder, dataset, learner, batch_size)
    spans = _spans(dataset, [split] if split else list(dataset.splits), place.workers)
    if not spans:
        raise DataError(f"{dataset.url} has no rows to predict" + (f" in the split '{split}'" if split else ""))
    schema = _schema(place, work, spans[0])
    start(storage, overwrite=overwrite)
    files: dict[str, list[DataFile]] = {}
    for span, file in zip(spans, _over(place, work, _Write(storage, schema), spans), strict=True):
        files.setdefault(span.split, []).append(DataFile.from_json(json.loads(file)))
    return commit(
        storage,
        schema,
        {name: tuple(of_split) for name, of_split in files.items()},
        info={"run": folder.url, "step": work.checkpoint.step, "dataset": dataset.url},
        shuffled=False,
    )


def _check_apart(out: Storage, dataset: Dataset) -> None:
    """
    Raises:
        DataError: writing to `out` could replace or mix with files of the dataset.
    """
    folders = {file.path.rpartition("/")[0] for files in dataset.manifest.splits.values() for file in files}
    read = [dataset.storage, *(dataset.data.child(folder) for folder in sorted(folders))]
    if out.within(dataset.storage) or any(folder.within(out) for folder in read):
        raise DataError(
            f"predictions cannot be written to {out.url}: files of the dataset {dataset.url} that they are about are "
            "there. Choose another folder"
        )


def _evaluate(work: Work, model: nn.Module, span: Span) -> bytes:
    return evaluate_span(work.learner, model, work.dataset, span.split, (span.start, span.end), work.config)


def _predict(work: Work, model: nn.Module, span: Span) -> Iterator[Columns]:
    return predict_span(work.learner, model, work.dataset, span.split, (span.start, span.end), work.config)


def _try(work: Work, model: nn.Module, span: Span) -> bytes:
    """The schema of the predictions for some rows."""
    return json.dumps(schema_of(next(_predict(work, model, span))).to_json()).encode()


@dataclass(frozen=True)
class _Write:
    """Predicts and writes the rows of a span as one file."""

    storage: Storage
    schema: Schema

    def __call__(self, work: Work, model: nn.Module, span: Span) -> bytes:
        # A task that Spark runs twice writes two files; the driver counts the one that it hears of.
        writer = PartWriter(self.storage, span.split, self.schema, span.number, uuid.uuid4().hex[:8])
        for columns in _predict(work, model, span):
            check_same(work.learner, self.schema, schema_of(columns))
            writer.write(encode(self.schema, columns))
        return json.dumps(writer.close().to_json()).encode()


def _schema(place: Place, work: Work, span: Span) -> Schema:
    """The schema of the predictions, found by predicting the first rows of a span where all others will be predicted.

    Whatever is wrong with the checkpoint or the learner comes to light here.
    """
    first = replace(span, end=min(span.start + _ROWS_TO_TRY, span.end))
    return Schema.from_json(json.loads(_over(place, work, _try, [first])[0]))


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


@dataclass(frozen=True)
class _Task:
    """The model is loaded, then used for a span."""

    work: Work
    use: Use

    def on(self, device: torch.device, span: Span) -> bytes:
        work = self.work
        with threads(work.config.cpus_per_worker):
            trained = load_trained(RunFolder(work.run), work.learner, work.checkpoint, device)
            return self.use(work, trained.model, span)

    def __call__(self, span: Span) -> bytes:
        """In a task of Spark."""
        from echelon.spark.device import task_device

        return self.on(task_device(), span)


def _over(place: Place, work: Work, use: Use, spans: list[Span]) -> list[bytes]:
    """What is made of the spans, in their order."""
    task = _Task(work, use)
    if not place.on_spark:
        return [task.on(default_device(), span) for span in spans]
    from echelon.spark.job import run_tasks
    from echelon.spark.session import session

    return run_tasks(session(place.master, place.workers, place.conf, gang=False), task, spans)


def _only(dataset: Dataset) -> str:
    splits = [split for split in dataset.splits if dataset.rows(split)]
    if len(splits) != 1:
        raise EchelonError(f"{dataset.url} has the splits {', '.join(splits) or 'none with rows'}: choose one")
    return splits[0]
