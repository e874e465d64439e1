"""The parameters and buffers that the server keeps, and how a worker's change comes into them."""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeGuard

import torch
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.server.bundle import Bundle

Tensors = dict[str, Tensor]


class Kind(StrEnum):
    """How a tensor of a model changes.

    DELTA: a trained parameter; what a worker sends is added, scaled. MEAN: a buffer of floats, which moves towards the
    worker's by the same share, so that a variance stays one and a constant what it is. MOST: a buffer of integers or
    booleans, which becomes the maximum.
    """

    DELTA = "delta"
    MEAN = "mean"
    MOST = "most"


def kinds_of(model: nn.Module) -> dict[str, Kind]:
    """Of all tensors in the state dict of a model; parameters that are not trained are left out."""
    kinds = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, nn.Parameter):
            kinds[name] = Kind.MEAN if tensor.is_floating_point() else Kind.MOST
        elif tensor.requires_grad:
            kinds[name] = Kind.DELTA
    return kinds


class GlobalState:
    """version: how many changes were applied."""

    def __init__(self, tensors: Tensors, kinds: Mapping[str, Kind]) -> None:
        self._tensors, self._kinds = Bundle.of(tensors), dict(kinds)
        self._whole = self._tensors.form.dtype is not None and self._kinds.keys() == self._tensors.keys()
        self._added = self._whole and set(self._kinds.values()) == {Kind.DELTA}
        self._snapshot: Bundle | None = None
        self.version = 0

    @property
    def snapshot(self) -> Bundle:
        """A copy of all tensors that nothing changes; the same one until the next change."""
        if self._snapshot is None:
            self._snapshot = self._tensors.copied()
        return self._snapshot

    def check(self, change: Mapping[str, Tensor]) -> None:
        """
        Raises:
            EchelonError: a change has other names, shapes or types than this model, or a number that is not finite.
        """
        if self._is_vector(change) and _is_finite(change.numbers):
            return
        if change.keys() != self._kinds.keys():
            raise EchelonError(f"a change is of {_names(change)}, but this model has {_names(self._kinds)}")
        for name, tensor in change.items():
            own = self._tensors[name]
            if (tensor.shape, tensor.dtype) != (own.shape, own.dtype):
                raise EchelonError(f"a change has {_form(tensor)} for {name}, which is {_form(own)}")
            if not _is_finite(tensor):
                raise EchelonError(f"a change of {name} is not finite: try a lower learning rate or --clip-norm")

    def apply(self, change: Mapping[str, Tensor], factor: float) -> None:
        """Applies a change that was checked. factor: its share, at most 1."""
        self._snapshot = None
        self.version += 1
        if self._added and self._is_vector(change):
            self._tensors.numbers.add_(change.numbers, alpha=factor)
            return
        for name, tensor in change.items():
            own = self._tensors[name]
            if self._kinds[name] is Kind.DELTA:
                own.add_(tensor, alpha=factor)
            elif self._kinds[name] is Kind.MEAN:
                own.lerp_(tensor, factor)
            else:
                torch.maximum(own, tensor, out=own)

    def _is_vector(self, change: Mapping[str, Tensor]) -> TypeGuard[Bundle]:
        """Whether a change is of all that is kept, in the same form and with numbers of one type."""
        return self._whole and isinstance(change, Bundle) and change.form == self._tensors.form


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are: so are they if their sum is, which takes a fiftieth of the time to find out."""
    return cmath.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())


def _names(tensors: Mapping[str, object]) -> str:
    return f"{len(tensors)} tensors ({', '.join(list(tensors)[:3])} …)"


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
