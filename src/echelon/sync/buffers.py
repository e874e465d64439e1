"""What replicas exchange at a boundary beside parameters or gradients: their tallies, and their modules' buffers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from echelon.comm import Comm, Pending
from echelon.sync.protocol import Tally

MEAN, VARIANCE = "running_mean", "running_var"


class Exchange:
    """The sum of the ranks' tallies, after which the module's buffers have one value on all ranks.

    Floats become means, weighted by the loss weight that each rank consumed; integers the maximum. A running variance
    becomes the variance over all replicas' rows: the mean of the variances plus the variance of the means,
    Σ w (v + m²) - (Σ w m)². Buffers that are not stored with the model are left alone.

    One collective carries tallies and floats, a second one, at the end, the integers if there are any. The first begins
    at once if there are no floats, which a backward pass may still change: one that computes activations again does.
    """

    def __init__(self, comm: Comm, module: nn.Module, tally: Tally) -> None:
        self._comm, self._module, self._tally = comm, module, tally
        self._begun: Pending | None = None
        if comm.world.size > 1 and not any(map(_floats, module.modules())):
            self._begun = comm.begin_sum(tally.vector(comm.world.device))

    def finish(self) -> Tally:
        """Waits for it. No buffer may change any more until this is called, on all ranks in the same order."""
        comm, module = self._comm, self._module
        if comm.world.size == 1:
            return self._tally
        if self._begun is not None:
            total = Tally(*self._begun.result().tolist())
        else:
            moments = _moments(module, self._tally.weight)
            total = self._tally.summed(comm, beside=moments)
            weight = total.weight
            if not weight:
                moments, weight = _moments(module, 1.0), float(comm.world.size)
                comm.sum(moments)
            _set_means(module, moments, weight)
        integers = [b for owner in module.modules() for _, b in _stored(owner) if not b.is_floating_point()]
        comm.maximum([_as_number(buffer) for buffer in integers])
        return total


def _stored(owner: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that a module itself, without its children, puts into a state dict."""
    for name, buffer in owner._buffers.items():
        if buffer is not None and name not in owner._non_persistent_buffers_set:
            yield name, buffer


def _floats(owner: nn.Module) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in _stored(owner) if buffer.is_floating_point()}


def _moments(module: nn.Module, weight: float) -> list[Tensor]:
    """Float buffers times a weight, variances as second moments.

    In float64, so that the mean of equal single-precision values is that value: a constant, such as a mean image, stays
    what it is over any number of boundaries.
    """
    moments = []
    for owner in module.modules():
        floats = _floats(owner)
        for name, buffer in floats.items():
            moment = buffer.detach().double()
            if name == VARIANCE and MEAN in floats:
                moment = moment + floats[MEAN].detach().double().square()
            moments.append(moment * weight)
    return moments


def _set_means(module: nn.Module, moments: list[Tensor], weight: float) -> None:
    """Puts summed moments, divided by the summed weight, into the buffers that they came from."""
    rest = iter(moments)
    for owner in module.modules():
        floats = _floats(owner)
        means = {name: next(rest) / weight for name in floats}
        if VARIANCE in means and MEAN in means:
            means[VARIANCE] = (means[VARIANCE] - means[MEAN].square()).clamp(min=0)
        for name, buffer in floats.items():
            buffer.detach().copy_(means[name])


def _as_number(tensor: Tensor) -> Tensor:
    """Booleans as bytes, over the same memory: gloo has no maximum of booleans."""
    return tensor.detach().view(torch.uint8) if tensor.dtype == torch.bool else tensor
