"""The mean of the replicas' parameters and buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echelon.comm import Comm


def average_parameters(comm: Comm, module: nn.Module, share: float) -> None:
    """Replaces the parameters by their mean over the ranks, weighted by each rank's share; the shares sum to 1."""
    if comm.world.size == 1:
        return
    parameters = [p.detach() for p in module.parameters()]
    torch._foreach_mul_(parameters, share)
    comm.sum(parameters)


def average_buffers(comm: Comm, module: nn.Module, share: float) -> None:
    """Replaces the buffers by one value for all ranks: floats by weighted means, integers by the maximum.

    A running variance becomes the variance over all replicas' rows: the mean of the variances plus the variance of the
    means, Σ w (v + m²) - (Σ w m)².
    """
    if comm.world.size == 1:
        return
    buffers = dict(module.named_buffers())
    means = {name: b for name, b in buffers.items() if b.is_floating_point()}
    counts = [b for b in buffers.values() if not b.is_floating_point()]
    pairs = [(buffers[mean], buffers[variance]) for mean, variance in _running_pairs(buffers)]
    for mean, variance in pairs:
        variance.add_(mean.square())
    for buffer in means.values():
        buffer.mul_(share)
    comm.sum(list(means.values()))
    comm.maximum([_as_number(b) for b in counts])
    for mean, variance in pairs:
        variance.sub_(mean.square()).clamp_(min=0)


def _running_pairs(buffers: dict[str, Tensor]) -> list[tuple[str, str]]:
    names = [(name, name.removesuffix("running_mean") + "running_var") for name in buffers if "running_mean" in name]
    return [(mean, variance) for mean, variance in names if variance in buffers and buffers[mean].is_floating_point()]


def _as_number(tensor: Tensor) -> Tensor:
    """Booleans as bytes, over the same memory: gloo has no maximum of booleans."""
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
