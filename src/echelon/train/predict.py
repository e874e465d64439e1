"""Predictions for every row of a split, each exactly once and with what tells which row it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import STRING, Column, Schema
from echelon.data.span import span_batches
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.evaluate import autocast
from echelon.train.learner import Learner, Predicted

ROW, KEY = "row", "key"

Columns = dict[str, np.ndarray | list[np.ndarray] | list[str]]


def carried_columns(learner: Learner, schema: Schema) -> tuple[str, ...]:
    """The columns that are written beside the predictions, so that these can be joined with what they are about.

    Every number and string that the learner does not read (of a learner that names no columns: every one), and "key".

    Raises:
        EchelonError: there is a column "row" among them, which is the name of the row's number.
    """
    read = learner.columns or ()
    names = tuple(
        c.name for c in schema.columns if (not c.shape and c.name not in read) or (c.name == KEY and not c.is_variable)
    )
    if ROW in names:
        raise EchelonError(
            f"the dataset has a column '{ROW}', which is what predictions call the row's number: rename it"
        )
    return names


@torch.no_grad()
def predict_span(
    learner: Learner, model: nn.Module, dataset: Dataset, split: str, span: tuple[int, int], config: RunConfig
) -> Iterator[Columns]:
    """The predictions for rows [start, end) of a split, in their order.

    Each has "row" (the row's number in the split, int64), the columns that are carried (see `carried_columns`), and
    those that `Learner.predict` gives.

    Raises:
        EchelonError: `predict` gave another number of values than rows, or a column of one of these names.
    """
    device = next(model.parameters()).device
    carried = carried_columns(learner, dataset.schema)
    names = None if learner.columns is None else tuple(dict.fromkeys((*learner.columns, *carried)))
    model.eval()
    for read in span_batches(dataset, split, names, *span, config.eval_batch_size):
        batch = read
        if learner.columns is not None:
            batch = replace(read, columns={name: read.columns[name] for name in learner.columns})
        with autocast(config.precision, device):
            predicted = learner.predict(model, learner.prepare(batch.to(device), None))
        yield _beside(carried, read, predicted, type(learner).__name__)


def predict_batch(learner: Learner, model: nn.Module, batch: Batch) -> Mapping[str, Predicted]:
    """The predictions for some rows that are in memory already."""
    model.eval()
    with torch.no_grad():
        return learner.predict(model, learner.prepare(batch.to(next(model.parameters()).device), None))


def schema_of(columns: Columns) -> Schema:
    """The schema under which predictions are written: numbers, tensors and strings.

    An array is a column of a fixed shape, a list of arrays one whose first axis varies.
    """
    return Schema(tuple(_column(name, values) for name, values in columns.items()))


def check_same(learner: Learner, schema: Schema, found: Schema) -> None:
    """
    Raises:
        EchelonError: predictions for some rows have other columns than those for others, and cannot be one dataset.
    """
    if found == schema:
        return
    first, second = (", ".join(map(_described, set(one.columns) - set(other.columns))) for one, other in
                     ((schema, found), (found, schema)))  # fmt: skip
    raise EchelonError(
        f"{type(learner).__name__}.predict gave {first or 'nothing more'} for some rows, "
        f"and {second or 'nothing more'} for others: give the same columns with the same shape for all rows, "
        "or where a length varies a list of tensors, one a row"
    )


def _column(name: str, values: np.ndarray | list[np.ndarray] | list[str]) -> Column:
    if isinstance(values, np.ndarray):
        return Column(name, values.dtype.name, values.shape[1:])
    first = values[0]
    if isinstance(first, np.ndarray):
        return Column(name, first.dtype.name, (None, *first.shape[1:]))
    return Column(name, STRING)


def _described(column: Column) -> str:
    return f"'{column.name}' as {column.dtype}{list(column.shape) if column.shape else ''}"


def _beside(carried: tuple[str, ...], read: Batch, predicted: Mapping[str, Any], learner: str) -> Columns:
    """The row's number, what is carried, and the predictions."""
    columns: Columns = {ROW: read.rows.numpy()}
    for name in carried:
        values = read.columns[name]
        columns[name] = values.numpy() if isinstance(values, Tensor) else values
    for name, values in predicted.items():
        if name in columns:
            raise EchelonError(
                f"{learner}.predict gives a column '{name}', but the one of the dataset is written beside the "
                "predictions: give another name"
            )
        if len(values) != len(read):
            raise EchelonError(f"{learner}.predict gave {len(values)} values of '{name}' for {len(read)} rows")
        columns[name] = _on_cpu(values) if isinstance(values, Tensor) else [
            _on_cpu(value) if isinstance(value, Tensor) else value for value in values
        ]  # fmt: skip
    return columns


def _on_cpu(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
