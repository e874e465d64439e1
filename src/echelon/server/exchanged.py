"""A worker's model, as it takes parameters from the server and gives back what it has learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from echelon.server.bundle import Bundle, Form
from echelon.server.state import Kind, Tensors, kinds_of
from echelon.train.snapshot import load_model


class Exchanged:
    """With leases of one step this is done as often as a step, so it asks torch for no more than it must."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._kinds = kinds_of(model)
        self._form = Form.of(model.state_dict(), self._kinds)
        own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
        # A state dict of other tensors than the module's own, which hooks can make, only the module can read back.
        self._plain = all(id(tensor) in own for tensor in model.state_dict(keep_vars=True).values())
        self._checked = False

    def take(self, tensors: Tensors) -> None:
        """Makes the model what the server has.

        Raises:
            EchelonError: names or shapes are not those of the model.
        """
        if not (self._plain and self._checked):
            load_model(self._model, tensors)
            self._checked = True
            return
        with torch.no_grad():
            for name, tensor in self._model.state_dict(keep_vars=True).items():
                tensor.copy_(tensors[name])

    def change(self, taken: Mapping[str, Tensor]) -> Tensors:
        """What the worker gives back, in the CPU's memory: of parameters the way from those that it has taken."""
        now = self._model.state_dict()
        change = Bundle.empty(self._form)
        for name, kind in self._kinds.items():
            if kind is Kind.DELTA:
                torch.sub(now[name].cpu(), taken[name], out=change[name])
            else:
                change[name].copy_(now[name])
        return change
