"""How well breeds are told apart: metrics, what trivial predictors reach, and intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
)

from echelon.train.classification import ACCURACY, BALANCED_ACCURACY, LOSS, MACRO_F1, BalancedAccuracy
from echelon.train.majority import majority_baseline

F1, AUC = "f1", "auc"
SURE = 0.95
"""How sure intervals are."""

Interval = tuple[float, float]


class MeanAUC(MulticlassAUROC):
    """The mean area under the curve of each class against all others, over the classes that occur."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none")

    def compute(self) -> Tensor:  # type: ignore[override]
        targets = torch.cat(self.target) if isinstance(self.target, list) else self.target
        with warnings.catch_warnings():
            # Of classes without rows, which are left out here.
            warnings.filterwarnings("ignore", message="No (positive|negative) samples")
            each = super().compute()
        rows = torch.bincount(targets, minlength=len(each))
        return each[(rows > 0) & (rows < len(targets))].mean()


def ranked(scores: Tensor) -> Tensor:
    """Scores as float64 numbers between 0 and 1 in the same order, above a half where they are positive.

    Torchmetrics takes others for logits, in some batches and not in others, and rounds those far from 0 to ties.
    """
    wide = scores.double()
    return 0.5 + wide / (2 * (1 + wide.abs()))


def metrics_of(answers: int, binary: bool) -> dict[str, Metric]:
    """New metrics of what is said (`accuracy`, `balanced_accuracy`, `f1` or `macro_f1`), of `ranked` scores (`auc`) and
    of losses (`loss`). binary: F1 and AUC are of the second of two answers; else means over the answers.
    """
    return {
        ACCURACY: MulticlassAccuracy(answers, average="micro"),
        BALANCED_ACCURACY: BalancedAccuracy(answers),
        **({F1: BinaryF1Score(), AUC: BinaryAUROC()} if binary else
           {MACRO_F1: MulticlassF1Score(answers, average="macro"), AUC: MeanAUC(answers)}),
        LOSS: MeanMetric(),
    }  # fmt: skip


def baseline_of(known: Sequence[int], there: Sequence[int], binary: bool) -> dict[str, float]:
    """What the trivial predictor reaches: one that always says no, if binary, else the most frequent breed in training.

    Args:
        known, there: how many rows of each answer are trained on, and measured; not all 0.
    """
    if not binary:
        return {name: value for name, value in majority_baseline(known, there).items() if name != LOSS} | {AUC: 0.5}
    negative, positive = there
    occurring = (negative > 0) + (positive > 0)
    return {
        ACCURACY: negative / (negative + positive),
        BALANCED_ACCURACY: (negative > 0) / occurring,
        F1: 0.0,
        AUC: 0.5,
    }


def wilson(right: int, rows: int, sure: float = SURE) -> Interval:
    """The interval of a proportion (Wilson, JASA 22, 1927); all of [0, 1] where there are no rows."""
    if not rows:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + sure) / 2)
    part, spread = right / rows, z * z / rows
    middle = (part + spread / 2) / (1 + spread)
    half = z * math.sqrt((part * (1 - part) + spread / 4) / rows) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(right: Sequence[int], rows: Sequence[int], sure: float = SURE) -> Interval:
    """The interval of the mean of independent proportions, such as balanced accuracy, from Wilson's of each by the
    method of variance estimates recovery (Zou and Donner, Statistics in Medicine 27, 2008). Those without rows are left
    out.
    """
    there = [(part, count) for part, count in zip(right, rows, strict=True) if count]
    if not there:
        return 0.0, 1.0
    parts = [part / count for part, count in there]
    limits = [wilson(part, count, sure) for part, count in there]
    mean = math.fsum(parts) / len(parts)
    below = math.sqrt(math.fsum((part - low) ** 2 for part, (low, _) in zip(parts, limits, strict=True)))
    above = math.sqrt(math.fsum((high - part) ** 2 for part, (_, high) in zip(parts, limits, strict=True)))
    return max(0.0, mean - below / len(parts)), min(1.0, mean + above / len(parts))


def intervals_of(confusion: Sequence[Sequence[int]]) -> dict[str, Interval]:
    """The intervals of accuracy and balanced accuracy. confusion: rows of an answer that were taken for another."""
    right = [row[at] for at, row in enumerate(confusion)]
    rows = [sum(row) for row in confusion]
    return {ACCURACY: wilson(sum(right), sum(rows)), BALANCED_ACCURACY: mean_interval(right, rows)}
