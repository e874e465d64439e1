"""Many tensors as few vectors, so that a collective carries many of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BUCKET_BYTES = 32 << 20


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype and device together, each group of a bounded size."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    sizes: dict[tuple[torch.dtype, torch.device], int] = {}
    for tensor in tensors:
        key = (tensor.dtype, tensor.device)
        size = tensor.numel() * tensor.element_size()
        if key in groups and sizes[key] + size > BUCKET_BYTES:
            yield groups.pop(key)
            sizes.pop(key)
        groups.setdefault(key, []).append(tensor)
        sizes[key] = sizes.get(key, 0) + size
    yield from groups.values()


def scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Gives tensors the values of the vector that they were joined into."""
    start = 0
    for tensor in tensors:
        tensor.detach().copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
