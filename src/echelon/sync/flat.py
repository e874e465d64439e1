"""The trained parameters of a module as one vector, which is easier to exchange and to compute with than a list."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from echelon.errors import EchelonError


class Flat:
    """Reads and writes the parameters of a module that require a gradient, in the order of their definition.

    Vectors are [numbers], float32, or float64 if a parameter is; of a module without such parameters they are empty.
    """

    def __init__(self, module: nn.Module) -> None:
        self._named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._dtype = reduce(torch.promote_types, (p.dtype for _, p in self._named), torch.float32)

    def read(self) -> Tensor:
        """A copy of the parameters."""
        return self._joined([p.detach() for _, p in self._named])

    def write(self, vector: Tensor) -> None:
        """Gives the parameters the values of a vector."""
        for (_, parameter), part in zip(self._named, self._parts(vector), strict=True):
            parameter.detach().copy_(part)

    def by_name(self, vector: Tensor, kind: str) -> dict[str, Tensor]:
        """The parts of a vector that holds a number for each of the parameters': "kind/parameter name" → its shape."""
        return {f"{kind}/{name}": part for (name, _), part in zip(self._named, self._parts(vector), strict=True)}

    def from_names(self, tensors: Mapping[str, Tensor], kind: str) -> Tensor:
        """The vector whose parts `by_name` named, on the parameters' device.

        Raises:
            EchelonError: there is none for a parameter, or one of another shape.
        """
        parts = []
        for name, parameter in self._named:
            part = tensors.get(f"{kind}/{name}")
            if part is None or part.shape != parameter.shape:
                found = "nothing" if part is None else f"the shape {tuple(part.shape)}"
                raise EchelonError(
                    f"the checkpoint's strategy has {found} as {kind} of the parameter {name}, whose shape is "
                    f"{tuple(parameter.shape)}: go on with the model that it was made with"
                )
            parts.append(part.to(parameter.device))
        return self._joined(parts)

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1).to(self._dtype) for part in parts]) if parts else torch.zeros(0)

    def _parts(self, vector: Tensor) -> list[Tensor]:
        sizes = [p.numel() for _, p in self._named]
        return [part.view_as(p) for (_, p), part in zip(self._named, vector.split(sizes), strict=True)] if sizes else []
