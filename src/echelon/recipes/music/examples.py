"""Windows as the network takes them: what it is given, and what it must say of that.

What it is given is one code behind what it must say, so that no prediction has seen its own answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from echelon.recipes.music.mulaw import SILENCE

NONE = -100
"""In place of a target where a window has ended: what torch's cross-entropy leaves out."""


@dataclass(frozen=True)
class Examples:
    """Windows with the same number of codes that are only context.

    rows: their places in the batch (int64, [k]). inputs: uint8 [k, context + longest], a silence and all codes but the
    last. targets: int64 [k, longest], the code that follows each of the last `longest` inputs, or `NONE`. codes: how
    many targets there are.
    """

    rows: Tensor
    inputs: Tensor
    targets: Tensor
    codes: int


def examples(samples: Tensor, lengths: Tensor, context: Tensor, at_once: int | None = None) -> Iterator[Examples]:
    """The windows of a batch, each once.

    Args:
        samples: codes, uint8 [n, t], anything behind the end of a window. lengths: of the windows, int64 [n]. context:
            how many of their first codes are no targets, integers [n]. at_once: most inputs that are given together,
            or one window; None for no limit.
    """
    for before in torch.unique(context).tolist():
        alike = (context == before).nonzero()[:, 0]
        size = len(alike) if at_once is None else max(1, at_once // max(int(lengths[alike].max()), 1))
        for rows in alike.split(size):
            yield _examples(samples, lengths, before, rows)


def _examples(samples: Tensor, lengths: Tensor, context: int, rows: Tensor) -> Examples:
    ends = lengths[rows]
    longest = int(ends.max())
    codes = samples[rows, :longest]
    inputs = torch.cat([torch.full_like(codes[:, :1], SILENCE), codes[:, :-1]], dim=1)
    targets = codes[:, context:].long()
    missing = torch.arange(context, longest, device=ends.device) >= ends[:, None]
    return Examples(rows, inputs, targets.masked_fill(missing, NONE), int((ends - context).sum()))
