"""What the user supplies: a model, its loss, its optimizer and how it is evaluated."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError

if TYPE_CHECKING:
    from torchmetrics import Metric

Loss = tuple[Tensor, Tensor | float]
Predicted = Tensor | list[str] | list[Tensor]
"""One entry a row: a tensor [n, …], n strings, or n tensors of which only the first axis may vary in length."""


class Learner(ABC):
    """Subclass it as a dataclass whose fields are plain values (numbers, strings, booleans, lists of these).

    A run stores the class's import path and the fields, never a pickle; `echelon.load` builds the model from them.
    """

    columns: ClassVar[tuple[str, ...] | None] = None
    """The columns to read; None for all."""
    length_column: ClassVar[str | None] = None
    """The column by whose length rows may be sorted (--bucket-steps): one of variable length, or of whole numbers."""
    changeable: ClassVar[tuple[str, ...]] = ()
    """Fields that may have another value when a run is resumed, such as the length of a schedule."""
    solved: ClassVar[bool] = False
    """Whether one process solves it at once (see `echelon.train.solved`), so that no strategy is at work."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model. Rank 0's initial weights are copied to all other ranks."""

    def initialise(self, model: nn.Module, dataset: Dataset) -> None:  # noqa: B027
        """Gives a new model what only the dataset knows, such as the mean of its images, as buffers or weights.

        Called once, before the first step; a loaded model has it already.
        """

    def check(self, dataset: Dataset) -> None:  # noqa: B027
        """Raises a DataError if a dataset is not what this learner was trained for, such as one of other classes.

        Called before a run evaluates or predicts.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The sum of the losses over the batch and its weight: the number of rows, or of tokens for sequences."""

    @abstractmethod
    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the model's parameters."""

    def rate(self, step: int) -> float:
        """What every learning rate is multiplied by at a global step, counted from 0."""
        return 1.0

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        """The batch as the model wants it, on the model's device.

        draw: random numbers for augmentation that depend on (seed, epoch, row) only; None outside of training.
        """
        return batch

    def metrics(self) -> dict[str, Metric]:
        """New metrics by name; their states must be merged by sum, maximum, minimum or concatenation."""
        return {}

    def arrays(self) -> dict[str, Metric]:
        """New metrics whose values are more than one number, such as a confusion matrix or a curve, by name.

        They are kept for the report (see `Recipe.exhibits`) and stop no training; `update` gets them with the others.
        """
        return {}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:  # noqa: B027
        """Adds the rows of a batch to the metrics, and to the arrays."""

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """What the trivial predictor reaches on a split, by metric."""
        return {}

    def sample(self, model: nn.Module) -> Mapping[str, np.ndarray]:
        """What the model makes by itself, such as a clip of sound, for the report (see `Recipe.samples`): arrays.

        Called after each evaluation of a training, with a copy of the model on the CPU in evaluation mode, on a thread
        of rank 0 beside the training: it must leave torch's random numbers alone, and should take seconds. It is kept
        in the run; what it raises is told and stops nothing. Defined by those learners that have something to make.
        """
        raise NotImplementedError

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Predicted]:
        """The columns of a prediction, the same for all batches.

        The row's number, and the numbers and strings of the dataset that are not in `columns`, are written beside it.
        """
        raise EchelonError(f"{type(self).__name__} defines no predict(model, batch): add it to write predictions")


class Objective(nn.Module):
    """The loss of a learner as a module, so that a strategy can wrap it."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Batch], Loss]) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Batch | None) -> Loss:
        """For None a zero that depends on every parameter: all gradients are zero; the model sees no empty batch."""
        if batch is None:
            return torch.stack([(p * 0).sum() for p in self.model.parameters() if p.requires_grad]).sum(), 0.0
        return self._loss(self.model, batch)


def describe(value: object) -> dict[str, Any]:
    """{"type": import path, "fields": plain values} of a dataclass: how learners and strategies are stored."""
    kind = type(value)
    stored = {f.name: getattr(value, f.name) for f in fields(value) if f.init} if is_dataclass(value) else {}
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "fields": stored}


def rebuild(description: dict[str, Any]) -> Any:
    """The value that `describe` described.

    Raises:
        EchelonError: its class cannot be imported here, which is so for a class of a script or a notebook.
    """
    path = description["type"]
    module, _, name = path.partition(":")
    try:
        kind: Any = importlib.import_module(module)
        for part in name.split("."):
            kind = getattr(kind, part)
    except (ImportError, AttributeError) as error:
        raise EchelonError(
            f"the class {path} that this run was made with cannot be imported here ({error}): "
            "put it into an importable module, or pass the learner itself"
        ) from None
    return kind(**description["fields"])
