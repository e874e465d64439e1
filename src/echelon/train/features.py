"""The output of one layer of a model as a column: what a network has learned to see, for other models to use.

The pass is that of the learner's own `predict`, so that the layer is given what it is given in a prediction. Nothing
after the layer is computed, except for the first batch, whose whole pass shows how often the layer is called.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from echelon.data.batch import Batch
from echelon.data.schema import Schema
from echelon.errors import EchelonError
from echelon.train.learner import Learner, Predicted
from echelon.train.predict import Make, carried_columns

FEATURES = "features"
_NEAR = 5


@dataclass(frozen=True)
class Features:
    """A column "features", float32 in the shape in which the layer gives it, beside every number and string.

    A layer that is called once for the first batch is taken to be called once for each: of a model that calls it more
    often for some later rows, those get its first output.

    layer: a name as in `torch.nn.Module.named_modules`.
    """

    layer: str
    remedy = "name a layer whose output has one shape for all rows"

    def source(self, learner: Learner) -> str:
        return f"the layer '{self.layer}'"

    def carried(self, learner: Learner, schema: Schema) -> tuple[str, ...]:
        return carried_columns(schema)

    @contextmanager
    def making(self, learner: Learner, model: nn.Module) -> Iterator[Make]:
        """
        Raises:
            EchelonError: there is no such layer; when the function is called, that the layer's output is no column.
        """
        tap = _Tap(layer_of(model, self.layer))

        def make(batch: Batch) -> dict[str, Predicted]:
            taken = tap.taken_from(learner, model, batch)
            fault = _fault(taken, len(batch))
            if fault:
                raise EchelonError(f"the layer '{self.layer}' {fault}: name another layer")
            return {FEATURES: taken[0].float()}

        yield make


@dataclass(frozen=True)
class Layer:
    """A layer of a model, as a prediction meets it.

    kind: its class. shape: of one row's output; None where that is no column. fault: why it is none.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    fault: str = ""


@torch.inference_mode()
def layers_of(learner: Learner, model: nn.Module, batch: Batch) -> list[Layer]:
    """Every layer of a model with the shape of its output, found by predicting some rows."""
    named = _named(model)
    taps = {name: _Tap(module) for name, module in named.items()}
    model.eval()
    with ExitStack() as taking:
        for tap in taps.values():
            taking.enter_context(tap)
        learner.predict(model, learner.prepare(batch.to(next(model.parameters(), torch.empty(0)).device), None))
    return [_layer(name, module, taps[name].taken, len(batch)) for name, module in named.items()]


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """The layer of a name.

    Raises:
        EchelonError: there is none; says which there are, those first whose names are near.
    """
    named = _named(model)
    if name in named:
        return named[name]
    within = [other for other in named if other.endswith(f".{name}")]
    near = list(dict.fromkeys([*within, *difflib.get_close_matches(name, named, _NEAR)]))
    there = [*near, *(other for other in named if other not in near)]
    raise EchelonError(f"the model has no layer '{name}'; there are: {', '.join(there) or 'none'}")


class _Reached(Exception):
    """Leaves a forward pass when all that is wanted of it is there."""


class _Tap:
    """Takes the outputs of a layer out of forward passes; within a `with` block, it is there."""

    def __init__(self, layer: nn.Module) -> None:
        self.taken: list[Any] = []
        self._layer = layer
        self._once = False
        self._hook: RemovableHandle | None = None

    def __enter__(self) -> None:
        self._hook = self._layer.register_forward_hook(self._take)

    def __exit__(self, *error: object) -> None:
        assert self._hook is not None
        self._hook.remove()

    def taken_from(self, learner: Learner, model: nn.Module, batch: Batch) -> list[Any]:
        """The outputs in one prediction; of a layer that was called once before, as soon as there is one."""
        self.taken = []
        with self, suppress(_Reached):
            learner.predict(model, batch)
        self._once = len(self.taken) == 1
        return self.taken

    def _take(self, module: nn.Module, inputs: Any, output: Any) -> None:
        # What follows may work in place, as ReLU often does.
        self.taken.append(output.clone() if isinstance(output, Tensor) and not self._once else output)
        if self._once:
            raise _Reached


def _named(model: nn.Module) -> dict[str, nn.Module]:
    """All layers but the model itself; one that has two names under each of them."""
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name}


def _layer(name: str, module: nn.Module, taken: Sequence[Any], rows: int) -> Layer:
    fault = _fault(taken, rows)
    return Layer(name, type(module).__name__, None if fault else tuple(taken[0].shape[1:]), fault)


def _fault(taken: Sequence[Any], rows: int) -> str:
    """Why the outputs of a layer in one pass over some rows are no column; "" if they are one."""
    if len(taken) != 1:
        # Of a layer that is called several times it would be left to chance what is meant.
        return f"is called {len(taken)} times in a prediction" if taken else "takes no part in a prediction"
    (output,) = taken
    if not isinstance(output, Tensor):
        return f"gives {'nothing' if output is None else f'a {type(output).__name__}'}, not one tensor"
    if output.is_complex():
        return f"gives complex numbers ({output.dtype})"
    if not output.ndim or len(output) != rows:
        return f"gives a tensor of the shape {list(output.shape)} for {rows} rows, not one entry a row"
    return ""
