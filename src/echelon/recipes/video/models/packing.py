"""Sequences of different lengths without their padding, in the order in which a recurrence takes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the elements of n padded sequences lie when those of one step follow those of the step before.

    order: the sequences, the longest first (int64, [n]). places: of each element, in the flattened [n · longest] input
    (int64, [elements]). reversal: for the sequences from their ends on, which of the elements comes there
    (int64, [elements]). ends: where each step ends among the elements; it has the first of the sequences in `order`.
    """

    order: Tensor
    places: Tensor
    reversal: Tensor
    ends: tuple[int, ...]


def pack(lengths: Tensor, longest: int) -> Packing:
    """lengths: int64 [n], 0 to `longest`."""
    sorted_lengths, order = lengths.sort(descending=True, stable=True)
    # [longest, n]: in this order, step by step, lie the elements.
    present = torch.arange(longest, device=lengths.device)[:, None] < sorted_lengths
    step, row = present.nonzero(as_tuple=True)
    ends = present.sum(1).cumsum(0)
    starts = ends - present.sum(1)
    reversal = starts[sorted_lengths[row] - 1 - step] + row
    # Steps that no sequence has would be empty.
    most = int(sorted_lengths[0]) if len(lengths) else 0
    return Packing(order, order[row] * longest + step, reversal, tuple(ends[:most].tolist()))
