"""What a model makes of every row of a split, each exactly once and with what tells which row it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import STRING, Column, Schema
from echelon.data.span import span_batches
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, Predicted
from echelon.train.precision import autocast

ROW, KEY = "row", "key"

Columns = dict[str, np.ndarray | list[np.ndarray] | list[str]]
Make = Callable[[Batch], Mapping[str, Predicted]]


class Output(Protocol):
    """What is made of rows, such as predictions."""

    @property
    def remedy(self) -> str:
        """What to do where the columns of some rows differ from those of others."""

    def source(self, learner: Learner) -> str:
        """What messages call the maker of the columns."""

    def carried(self, learner: Learner, schema: Schema) -> tuple[str, ...]:
        """The columns of the dataset that are written beside it."""

    def making(self, learner: Learner, model: nn.Module) -> AbstractContextManager[Make]:
        """A function that makes the columns of a batch, which is on the model's device."""


@dataclass(frozen=True)
class Predictions:
    """What a learner predicts, beside every number and string that it does not read."""

    remedy = (
        "give the same columns with the same shape for all rows, or where a length varies a list of tensors, one a row"
    )

    def source(self, learner: Learner) -> str:
        return f"{type(learner).__name__}.predict"

    def carried(self, learner: Learner, schema: Schema) -> tuple[str, ...]:
        return carried_columns(schema, learner.columns or ())

    @contextmanager
    def making(self, learner: Learner, model: nn.Module) -> Iterator[Make]:
        yield lambda batch: learner.predict(model, batch)


def carried_columns(schema: Schema, read: Collection[str] = ()) -> tuple[str, ...]:
    """The columns that are written beside what is made, so that it can be joined with what it is about.

    Every number and string whose name is not in `read`, and "key".

    Raises:
        EchelonError: there is a column "row" among them, which is the name of the row's number.
    """
    names = tuple(
        c.name for c in schema.columns if (not c.shape and c.name not in read) or (c.name == KEY and not c.is_variable)
    )
    if ROW in names:
        raise EchelonError(
            f"the dataset has a column '{ROW}', which is what predictions call the row's number: rename it"
        )
    return names


@torch.inference_mode()
def output_span(
    output: Output,
    learner: Learner,
    model: nn.Module,
    dataset: Dataset,
    split: str,
    span: tuple[int, int],
    config: RunConfig,
) -> Iterator[Columns]:
    """What is made of rows [start, end) of a split, in their order.

    Each has "row" (the row's number in the split, int64), the columns that are carried, and those that are made.

    Raises:
        EchelonError: another number of values was made than there are rows, or a column of one of these names.
    """
    device = next(model.parameters()).device
    carried = output.carried(learner, dataset.schema)
    names = None if learner.columns is None else tuple(dict.fromkeys((*learner.columns, *carried)))
    model.eval()
    with output.making(learner, model) as make:
        for read in span_batches(dataset, split, names, *span, config.eval_batch_size):
            batch = read
            if learner.columns is not None:
                batch = replace(read, columns={name: read.columns[name] for name in learner.columns})
            with autocast(config.precision, device):
                made = make(learner.prepare(batch.to(device), None))
            yield _beside(carried, read, made, output.source(learner))


@torch.inference_mode()
def predicted_columns(learner: Learner, model: nn.Module, batch: Batch) -> Columns:
    """What a learner predicts for some rows that are in memory already, and nothing beside it."""
    device = next(model.parameters()).device
    made = learner.predict(model, learner.prepare(batch.to(device), None))
    return _made(made, len(batch), Predictions().source(learner))


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


def check_same(output: Output, learner: Learner, schema: Schema, found: Schema) -> None:
    """
    Raises:
        EchelonError: what is made of some rows has other columns than that of others, and cannot be one dataset.
    """
    if found == schema:
        return
    first, second = (", ".join(map(_described, set(one.columns) - set(other.columns))) for one, other in
                     ((schema, found), (found, schema)))  # fmt: skip
    raise EchelonError(
        f"{output.source(learner)} gave {first or 'nothing more'} for some rows, "
        f"and {second or 'nothing more'} for others: {output.remedy}"
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


def _beside(carried: tuple[str, ...], read: Batch, made: Mapping[str, Any], source: str) -> Columns:
    """The row's number, what is carried, and what was made."""
    columns: Columns = {ROW: read.rows.numpy()}
    for name in carried:
        values = read.columns[name]
        columns[name] = values.numpy() if isinstance(values, Tensor) else values
    for name in made:
        if name in columns:
            raise EchelonError(
                f"{source} gives a column '{name}', but the one of the dataset is written beside it: "
                "give another name to one of them"
            )
    return columns | _made(made, len(read), source)


def _made(made: Mapping[str, Any], rows: int, source: str) -> Columns:
    columns: Columns = {}
    for name, values in made.items():
        if len(values) != rows:
            raise EchelonError(f"{source} gave {len(values)} values of '{name}' for {rows} rows")
        columns[name] = _on_cpu(values) if isinstance(values, Tensor) else [
            _on_cpu(value) if isinstance(value, Tensor) else value for value in values
        ]  # fmt: skip
    return columns


def _on_cpu(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
