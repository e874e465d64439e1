"""Means over the codes that were predicted, however they are dealt to windows, batches and workers."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class CodeMean(Metric):
    """A mean over codes, of sums in double precision: single precision loses digits after some million codes."""

    total: Tensor
    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("codes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, total: Tensor, codes: int) -> None:
        """total: the sum over so many codes."""
        self.total += total.double()
        self.codes += codes

    def compute(self) -> Tensor:
        return self.total / self.codes
