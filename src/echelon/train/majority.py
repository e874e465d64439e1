"""What the predictor reaches that has only counted the classes in training."""

from __future__ import annotations

import math
from collections.abc import Sequence


def majority_baseline(known: Sequence[int], there: Sequence[int]) -> dict[str, float]:
    """What `classification_metrics` come to if every row is taken for the class that is most frequent in training.

    The loss is that of giving each class its frequency in training as its probability, the least that one answer for
    all rows can have; it is left out where a class that never was in training occurs.

    Args:
        known, there: how many rows each class has in training, and among those that are measured; not all 0.
    """
    usual, rows = max(range(len(known)), key=known.__getitem__), sum(there)
    occurring = sum(count > 0 for count in there)
    right = there[usual]
    figures = {
        "accuracy": right / rows,
        "balanced_accuracy": (right > 0) / occurring,
        "macro_f1": 2 * right / (rows + right) / (occurring + (right == 0)),
    }
    if all(before or not now for before, now in zip(known, there, strict=True)):
        logs = [now * math.log(before / sum(known)) for before, now in zip(known, there, strict=True) if now]
        figures["loss"] = -math.fsum(logs) / rows
    return figures
