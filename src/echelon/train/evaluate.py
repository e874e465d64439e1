"""Evaluation: every row of a split on exactly one worker, nothing padded, nothing averaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from echelon.comm import Comm
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.metrics import Arrays, compute_merged, compute_merged_arrays, states_to_bytes
from echelon.train.precision import autocast

if TYPE_CHECKING:
    from torchmetrics import Metric

LOSS = "loss"


@dataclass(frozen=True)
class Measured:
    """What an evaluation came to. metrics: numbers. arrays: what is more than a number, see `Learner.arrays`."""

    metrics: dict[str, float]
    arrays: Arrays


def metrics_of(learner: Learner) -> dict[str, Metric]:
    """The metrics of a learner; of one that has none, the mean loss."""
    own = learner.metrics()
    if own:
        return own
    from torchmetrics import MeanMetric

    return {LOSS: MeanMetric()}


def measured(learner: Learner, parts: Sequence[bytes]) -> Measured:
    """The whole of what `evaluate_span` gave for the parts of a split."""
    return Measured(compute_merged(metrics_of(learner), parts), compute_merged_arrays(learner.arrays(), parts))


def span_of(rows: int, part: int, parts: int) -> tuple[int, int]:
    """First and past-the-end row of one of `parts` contiguous spans that together hold each row once."""
    return rows * part // parts, rows * (part + 1) // parts


def evaluation_split(dataset: Dataset, wanted: str | None) -> str | None:
    """The split to evaluate on: the wanted one, else val, else test, else none.

    Raises:
        EchelonError: the wanted split does not exist.
    """
    if wanted is not None and wanted not in dataset.splits:
        raise EchelonError(f"{dataset.url} has no split '{wanted}'; there are: {', '.join(dataset.splits)}")
    return wanted or next((s for s in ("val", "test") if s in dataset.splits and dataset.rows(s)), None)


@torch.no_grad()
def evaluate_span(
    learner: Learner, model: nn.Module, dataset: Dataset, split: str, span: tuple[int, int], config: RunConfig
) -> bytes:
    """The metric states over rows [start, end) of a split, to be merged by `measured`."""
    device = next(model.parameters()).device
    metrics = {name: metric.to(device) for name, metric in {**metrics_of(learner), **learner.arrays()}.items()}
    own = bool(learner.metrics())
    training = model.training
    model.eval()
    try:
        for raw in span_batches(dataset, split, learner.columns, *span, config.eval_batch_size):
            batch = learner.prepare(raw.to(device), None)
            with autocast(config.precision, device):
                if own:
                    learner.update(metrics, model, batch)
                else:
                    total, weight = learner.loss(model, batch)
                    metrics[LOSS].update(total / weight, weight)
    finally:
        model.train(training)
    return states_to_bytes(metrics)


def evaluate(
    learner: Learner, model: nn.Module, dataset: Dataset, split: str, config: RunConfig, comm: Comm
) -> Measured:
    """The metrics over a whole split, the same on every rank. All ranks call it together.

    The states of all ranks are only held by rank 0, since exact metrics of rankings have one number for each score.

    Raises:
        EchelonError: the metrics cannot be computed of them; the message is that of rank 0.
    """
    span = span_of(dataset.rows(split), comm.world.rank, comm.world.size)
    parts = comm.gather_bytes(evaluate_span(learner, model, dataset, split, span, config), everywhere=False)
    if comm.world.size == 1:
        return measured(learner, parts)
    told = b""
    failure: Exception | None = None
    if comm.world.is_first:
        try:
            told = json.dumps(asdict(measured(learner, parts))).encode()
        except Exception as error:
            # The others wait to be told, and would do so until the deadline.
            failure, told = error, json.dumps({"failure": str(error)}).encode()
    found = json.loads(comm.gather_bytes(told)[0])
    if failure is not None:
        raise failure
    if "failure" in found:
        raise EchelonError(found["failure"])
    return Measured(**found)
