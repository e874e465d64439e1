"""Average precision of a ranking in which items may be tied.

AP = Σ precision at each hit / number of positives, as `AveragePrecisionCalculator` of the challenge's public code. That
code shuffles before it sorts, so that items of equal scores come in any order. Here their order is averaged over
(McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores",
ECIR 2008): what is computed is the expectation of the public code, and does not depend on the order of the rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def average_precision(scores: Tensor, hits: Tensor, positives: int) -> float:
    """Of one ranking of n items.

    Args:
        scores: float [n]. hits: whether each item is a positive (bool, [n]).
        positives: how many there are in all, also those that are not among the items.

    Returns: 0 to 1, or NaN where there are no positives.
    """
    # Sorted without their hits: what lies between two scores of hits is only counted.
    ranked = np.sort(scores.numpy())
    values, hits_of_value = (each[::-1].copy() for each in np.unique(scores[hits].numpy(), return_counts=True))
    before = len(ranked) - np.searchsorted(ranked, values, "right")
    sizes = len(ranked) - np.searchsorted(ranked, values, "left") - before
    return _average(torch.from_numpy(sizes), torch.from_numpy(hits_of_value), torch.from_numpy(before), positives)


def average_precision_of_ties(sizes: Tensor, hits: Tensor, positives: int) -> float:
    """Of a ranking given by its groups of tied items, the best first.

    Args:
        sizes: items of each group (int64, [groups]). hits: how many of them are positives (int64, [groups]).
        positives: as in `average_precision`.
    """
    return _average(sizes, hits, sizes.cumsum(0) - sizes, positives)


def _average(sizes: Tensor, hits: Tensor, before: Tensor, positives: int) -> float:
    """before: items ahead of each group. Groups without hits may be missing.

    In a group of n items with p hits, behind N items with P hits, the i-th is a hit with probability p/n, and then
    P + 1 + (i - 1)b hits are expected up to it, b = (p - 1)/(n - 1), so the group gives
    p/n · Σᵢ (P + 1 - b + bi)/(N + i) = p/n · (bn + (P + 1 - b - bN) · (H(N + n) - H(N))), H being harmonic numbers.
    """
    if not positives:
        return float("nan")
    n, p, ahead = sizes.double(), hits.double(), before.double()
    hits_ahead = p.cumsum(0) - p
    b = (p - 1) / (n - 1).clamp(min=1)
    harmonic = torch.where(n == 1, 1 / (ahead + 1), torch.digamma(ahead + n + 1) - torch.digamma(ahead + 1))
    expected = p / n * (b * n + (hits_ahead + 1 - b - b * ahead) * harmonic)
    return float(expected.sum()) / positives
