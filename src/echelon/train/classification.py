"""How well a model tells classes apart. Imports torchmetrics, which takes as long as torch."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

ACCURACY, BALANCED_ACCURACY, MACRO_F1, LOSS = "accuracy", "balanced_accuracy", "macro_f1", "loss"


class BalancedAccuracy(MulticlassConfusionMatrix):
    """The mean, over the classes that have rows, of the part of their rows that are recognised.

    Torchmetrics' macro averages also count classes without a row, as missed, once a row is taken for one of them; this
    is scikit-learn's balanced_accuracy_score.
    """

    def compute(self) -> Tensor:
        counts = super().compute()
        rows = counts.sum(1)
        return (counts.diagonal()[rows > 0] / rows[rows > 0]).mean()


def classification_metrics(classes: int) -> dict[str, Metric]:
    """New metrics of predicted and true labels, and "loss", which takes the loss of each row.

    The macro F1 score is the mean over the classes that occur or are predicted. majority_baseline says what the trivial
    predictor reaches.
    """
    return {
        ACCURACY: MulticlassAccuracy(classes, average="micro"),
        BALANCED_ACCURACY: BalancedAccuracy(classes),
        MACRO_F1: MulticlassF1Score(classes, average="macro"),
        LOSS: MeanMetric(),
    }
