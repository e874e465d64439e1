"""The labels of a video in the order of their confidences."""

from __future__ import annotations

from torch import Tensor


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest scores of each row and where they stand, the highest first; of equal ones the first in the row.

    Args:
        scores: float [n, labels].

    Returns: scores and places (int64), each [n, min(count, labels)].
    """
    count = min(count, scores.shape[1])
    values, places = scores.topk(min(count + 1, scores.shape[1]), dim=1)
    # topk says nothing of the order of equal scores, and sorting all of a row costs several times as much.
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    if tied.any():
        ordered = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], places[tied] = (part[:, : values.shape[1]] for part in (ordered.values, ordered.indices))
    return values[:, :count], places[:, :count]


def hits_of(targets: Tensor, places: Tensor) -> Tensor:
    """Whether the labels at some places of each row are true: bool, like `places`. targets: [n, labels]."""
    return targets.gather(1, places) > 0
