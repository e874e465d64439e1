"""What a predictor reaches that gives every video the same confidences: how frequent each label was in training.

It is computed from the videos' labels alone, in one pass and without a matrix of scores, and is exactly what the
metrics say of those confidences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from echelon.recipes.video.metrics.average_precision import average_precision_of_ties
from echelon.recipes.video.metrics.names import GAP, HIT, MAP, PERR
from echelon.recipes.video.metrics.precision import PREDICTIONS
from echelon.recipes.video.metrics.ranking import top


def label_prior(frequencies: Sequence[float], targets: Iterable[Tensor]) -> dict[str, float]:
    """All metrics of always giving the frequencies.

    Args:
        frequencies: of each label. targets: of some videos at a time, 1 for each label that is true, [n, labels].
    """
    scores = torch.tensor([list(frequencies)], dtype=torch.float64)
    _, (order,) = top(scores, scores.shape[1])
    positives = torch.zeros(len(order), dtype=torch.int64)
    videos, precise = 0, 0.0
    for some in targets:
        ranked = some[:, order] > 0
        labels = ranked.sum(1, keepdim=True)
        positives += ranked.sum(0)
        counted = torch.arange(len(order)) < labels
        precise += float(((ranked & counted).sum(1) / labels[:, 0].clamp(min=1)).double().sum())
        videos += len(some)
    return {
        GAP: _gap(scores[0, order], positives, videos),
        MAP: _mean_average_precision(positives, videos),
        HIT: int(positives[0]) / videos if videos else math.nan,
        PERR: precise / videos if videos else math.nan,
    }


def _gap(scores: Tensor, positives: Tensor, videos: int) -> float:
    """positives: videos of each label, in the order of the scores."""
    _, sizes = scores[:PREDICTIONS].unique_consecutive(return_counts=True)
    hits = torch.stack([part.sum() for part in positives[:PREDICTIONS].split(sizes.tolist())])
    return average_precision_of_ties(sizes * videos, hits, int(positives.sum()))


def _mean_average_precision(positives: Tensor, videos: int) -> float:
    size = torch.tensor([videos])
    each = [average_precision_of_ties(size, hits[None], int(hits)) for hits in positives[positives > 0]]
    return sum(each) / len(each) if each else math.nan
