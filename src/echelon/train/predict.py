"""Predictions for every row of a split, each exactly once and with its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.evaluate import autocast
from echelon.train.learner import Learner

ROW, KEY = "row", "key"

Columns = dict[str, np.ndarray | list[str]]


@torch.no_grad()
def predict_span(
    learner: Learner, model: nn.Module, dataset: Dataset, split: str, span: tuple[int, int], config: RunConfig
) -> Iterator[Columns]:
    """The predictions for rows [start, end) of a split, in their order.

    Each has the columns that `Learner.predict` gives, "row" (the row's number in the split, int64) and, if the dataset
    has a column "key", that one.

    Raises:
        EchelonError: `predict` gave another number of values than rows, or a column of these names.
    """
    device = next(model.parameters()).device
    has_key = KEY in dataset.schema.names
    names = learner.columns
    if names is not None and has_key and KEY not in names:
        names = (*names, KEY)
    model.eval()
    for raw in span_batches(dataset, split, names, *span, config.eval_batch_size):
        with autocast(config.precision, device):
            predicted = learner.predict(model, learner.prepare(raw.to(device), None))
        yield _with_keys(learner, predicted, raw, has_key)


def predict_batch(learner: Learner, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
    """The predictions for some rows that are in memory already."""
    model.eval()
    with torch.no_grad():
        return learner.predict(model, learner.prepare(batch.to(next(model.parameters()).device), None))


def schema_of(columns: Mapping[str, np.ndarray | list[str]]) -> Schema:
    """The schema under which predictions are written: strings, numbers, or tensors of a fixed shape."""
    return Schema(
        tuple(
            Column(name, "string") if isinstance(values, list) else Column(name, values.dtype.name, values.shape[1:])
            for name, values in columns.items()
        )
    )


def _with_keys(learner: Learner, predicted: Mapping[str, Any], batch: Batch, has_key: bool) -> Columns:
    columns: Columns = {ROW: batch.rows.numpy()}
    if has_key:
        key = batch.columns[KEY]
        columns[KEY] = key if isinstance(key, list) else key.numpy()
    for name, values in predicted.items():
        if name in columns:
            raise EchelonError(f"{type(learner).__name__}.predict must not give a column '{name}': it is the row's key")
        if len(values) != len(batch):
            raise EchelonError(
                f"{type(learner).__name__}.predict gave {len(values)} values of '{name}' for {len(batch)} rows"
            )
        columns[name] = _on_cpu(values) if isinstance(values, Tensor) else list(values)
    return columns


def _on_cpu(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
