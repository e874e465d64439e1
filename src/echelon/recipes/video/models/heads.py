"""What gives the logits of the labels, float32 [n, labels], of one vector of a video, float32 [n, inputs]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, logsigmoid


class RowNorm(nn.BatchNorm1d):
    """Batch norm that can train on a single row, which has no deviation: it takes the running statistics there.

    A worker's part of the last batch may be one row.
    """

    def forward(self, rows: Tensor) -> Tensor:
        if self.training and len(rows) == 1:
            return batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(rows)


class Mlp(nn.Sequential):
    """Dense layers, each with batch norm, ReLU and dropout, and one that gives the labels."""

    def __init__(self, inputs: int, hidden: Sequence[int], labels: int, dropout: float) -> None:
        sizes = [inputs, *hidden]
        layers: list[nn.Module] = []
        for before, size in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(before, size), RowNorm(size), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(sizes[-1], labels))


class MixtureOfExperts(nn.Module):
    """For each label some logistic experts and one that always says no, weighed by a softmax gate of the video.

    Jordan & Jacobs 1994, as in Abu-El-Haija et al., arXiv:1609.08675, section 4: P = Σₑ gateₑ · σ(expertₑ). What is
    given is log P - log(1 - P), from logarithms all the way, so that the loss is exact for P near 0 and 1.
    """

    def __init__(self, inputs: int, labels: int, experts: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs, labels * (experts + 1), bias=False)
        self.experts = nn.Linear(inputs, labels * experts)
        self._shape = (labels, experts)

    def forward(self, vectors: Tensor) -> Tensor:
        labels, experts = self._shape
        gates = self.gates(vectors).unflatten(1, (labels, experts + 1)).float().log_softmax(dim=2)
        opinions = self.experts(vectors).unflatten(1, (labels, experts)).float()
        yes = torch.logsumexp(gates[..., :experts] + logsigmoid(opinions), dim=2)
        no = torch.logsumexp(torch.cat([gates[..., :experts] + logsigmoid(-opinions), gates[..., experts:]], 2), dim=2)
        return yes - no
