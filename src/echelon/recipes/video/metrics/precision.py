"""GAP and mAP: metrics of the precision along a ranking of all videos.

Their states are what a ranking needs, since no sum or histogram of scores gives it exactly. What they take is said of
each.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from echelon.recipes.video.metrics.average_precision import average_precision
from echelon.recipes.video.metrics.ranking import hits_of, top

PREDICTIONS = 20
"""Labels of each video that count in GAP, and that are submitted."""


class GlobalAveragePrecision(Metric):
    """GAP@20: average precision of one ranking of the 20 most confident labels of every video, all videos together.

    The positives are all labels of the videos that the model knows, also those that are not among the 20. It holds 5
    bytes for each of the 20, so 100 MB for a million videos.
    """

    higher_is_better = True
    full_state_update = False
    confidences: list[Tensor]
    hits: list[Tensor]
    positives: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("confidences", [], dist_reduce_fx="cat")
        self.add_state("hits", [], dist_reduce_fx="cat")
        self.add_state("positives", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """scores: float [n, labels]. targets: 1 for each label that is true, else 0, [n, labels]."""
        confidences, places = top(scores.float(), PREDICTIONS)
        self.confidences.append(confidences.flatten().cpu())
        self.hits.append(hits_of(targets, places).flatten().cpu())
        self.positives += (targets > 0).sum()

    def compute(self) -> Tensor:
        """0 to 1; NaN where no video has a label that the model knows."""
        if not len(self.confidences):
            return torch.tensor(math.nan)
        found = average_precision(_joined(self.confidences), _joined(self.hits), int(self.positives))
        return torch.tensor(found)


class MeanAveragePrecision(Metric):
    """mAP: average precision of the ranking of all videos for each label, and the mean of these.

    Labels that no video has are left out, since they have no average precision; the public code counts them as 0,
    which is the same wherever each label occurs, as in the published splits. It is exact, over all scores and not only
    the highest of each video, and holds 4.125 bytes for each label of each video: 30 MB for 7,400 videos of 1,000
    labels, 17.5 GB for the 1.1 million videos and 3,862 labels of the public validation split.
    """

    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """As in `GlobalAveragePrecision`."""
        self.scores.append(scores.float().cpu())
        packed = np.packbits((targets > 0).cpu().numpy(), axis=1)
        self.targets.append(torch.from_numpy(packed))

    def per_label(self) -> Tensor:
        """The average precision of each label, float64 [labels]; NaN for those that no video has. Of no videos []."""
        if not len(self.scores):
            return torch.empty(0, dtype=torch.float64)
        parts = self.scores if isinstance(self.scores, list) else [self.scores]
        packed = _joined(self.targets).numpy()
        found = []
        for label in range(parts[0].shape[1]):
            hits = torch.from_numpy(packed[:, label // 8] >> (7 - label % 8) & 1).bool()
            positives = int(hits.sum())
            # One label at a time, since all scores a second time may be more than there is memory for.
            scores = torch.cat([part[:, label] for part in parts])
            found.append(average_precision(scores, hits, positives) if positives else math.nan)
        return torch.tensor(found, dtype=torch.float64)

    def compute(self) -> Tensor:
        """0 to 1; NaN where no video has a label that the model knows."""
        return self.per_label().nanmean()


class PrecisionPerLabel(MeanAveragePrecision):
    """The average precision of each label, float64 [labels]; NaN for those that no video has."""

    def compute(self) -> Tensor:
        return self.per_label()


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    return torch.cat(state) if isinstance(state, list) else state
