"""Average precision of a ranking in which items may be tied.

AP = Σ precision at each hit / number of positives, as `AveragePrecisionCalculator` of the challenge's public code. That
code shuffles before it sorts, so that items of equal scores come in any order. Here their order is averaged over
(McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores",
ECIR 2008): what is computed is the expectation of the public code, and does not depend on the order of the rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def average_precision(scores: Tensor, hits: Tensor, positives: int) -> float:
    """Of one ranking of n items.

    Args:
        scores: float [n]. hits: whether each item is a positive (bool, [n]).
        positives: how many there are in all, also those that are not among the items.

    Returns: 0 to 1, or NaN where there are no positives.
    """
    ordered, order = scores.sort(descending=True)
    _, sizes = ordered.unique_consecutive(return_counts=True)
    hits_until = hits[order].long().cumsum(0)[sizes.cumsum(0) - 1]
    return average_precision_of_ties(sizes, hits_until.diff(prepend=hits_until.new_zeros(1)), positives)


def average_precision_of_ties(sizes: Tensor, hits: Tensor, positives: int) -> float:
    """Of a ranking given by its groups of tied items, the best first.

    Args:
        sizes: items of each group (int64, [groups]). hits: how many of them are positives (int64, [groups]).
        positives: as in `average_precision`.

    In a group of n items with p hits, behind N items with P hits, the i-th is a hit with probability p/n, and then
    P + 1 + (i - 1)b hits are expected up to it, b = (p - 1)/(n - 1), so the group gives
    p/n · Σᵢ (P + 1 - b + bi)/(N + i) = p/n · (bn + (P + 1 - b - bN) · (H(N + n) - H(N))), H being harmonic numbers.
    """
    if not positives:
        return float("nan")
    n, p = sizes.double(), hits.double()
    before, hits_before = n.cumsum(0) - n, p.cumsum(0) - p
    # The other groups give nothing, and are most of them.
    n, p, before, hits_before = (values[hits > 0] for values in (n, p, before, hits_before))
    b = (p - 1) / (n - 1).clamp(min=1)
    harmonic = torch.where(n == 1, 1 / (before + 1), torch.digamma(before + n + 1) - torch.digamma(before + 1))
    expected = p / n * (b * n + (hits_before + 1 - b - b * before) * harmonic)
    return float(expected.sum()) / positives
