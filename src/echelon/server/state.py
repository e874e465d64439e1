"""The parameters and buffers that the server keeps, and how a worker's change comes into them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import torch
from torch import Tensor, nn

from echelon.errors import EchelonError
from echelon.train.snapshot import copied

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


def change_of(model: nn.Module, kinds: Mapping[str, Kind], taken: Mapping[str, Tensor]) -> Tensors:
    """What a worker gives back, in the CPU's memory: of parameters the way from those that it has taken."""
    now = copied({name: tensor for name, tensor in model.state_dict().items() if name in kinds})
    return {name: tensor.sub_(taken[name]) if kinds[name] is Kind.DELTA else tensor for name, tensor in now.items()}


class GlobalState:
    """version: how many changes were applied."""

    def __init__(self, tensors: Tensors, kinds: Mapping[str, Kind]) -> None:
        self._tensors, self._kinds = tensors, dict(kinds)
        self._snapshot: Tensors | None = None
        self.version = 0

    @property
    def snapshot(self) -> Tensors:
        """A copy of all tensors that nothing changes; the same one until the next change."""
        if self._snapshot is None:
            self._snapshot = copied(self._tensors)
        return self._snapshot

    def check(self, change: Mapping[str, Tensor]) -> None:
        """
        Raises:
            EchelonError: a change has other names, shapes or types than this model, or a number that is not finite.
        """
        if change.keys() != self._kinds.keys():
            raise EchelonError(f"a change is of {_names(change)}, but this model has {_names(self._kinds)}")
        for name, tensor in change.items():
            own = self._tensors[name]
            if (tensor.shape, tensor.dtype) != (own.shape, own.dtype):
                raise EchelonError(f"a change has {_form(tensor)} for {name}, which is {_form(own)}")
            if not bool(torch.isfinite(tensor).all()):
                raise EchelonError(f"a change of {name} is not finite: try a lower learning rate or --clip-norm")

    def apply(self, change: Mapping[str, Tensor], factor: float) -> None:
        """Applies a change that was checked. factor: its share, at most 1."""
        self._snapshot = None
        for name, tensor in change.items():
            own = self._tensors[name]
            if self._kinds[name] is Kind.DELTA:
                own.add_(tensor, alpha=factor)
            elif self._kinds[name] is Kind.MEAN:
                own.lerp_(tensor, factor)
            else:
                torch.maximum(own, tensor, out=own)
        self.version += 1


def _names(tensors: Mapping[str, object]) -> str:
    return f"{len(tensors)} tensors ({', '.join(list(tensors)[:3])} …)"


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
