"""Hit@1 and PERR: metrics that are a mean over videos.

As in the public code, a video without labels counts, with 0; which videos are measured is for the caller to say.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric

from echelon.recipes.video.metrics.ranking import hits_of, top


class VideoMean(Metric):
    """The mean of a number of each video. NaN of no videos."""

    higher_is_better = True
    full_state_update = False
    total: Tensor
    videos: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("videos", torch.tensor(0), dist_reduce_fx="sum")

    @abstractmethod
    def of_each(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The number of each video, [n]. Arguments as in `GlobalAveragePrecision`."""

    def update(self, scores: Tensor, targets: Tensor) -> None:
        self.total += self.of_each(scores, targets).double().sum()
        self.videos += len(scores)

    def compute(self) -> Tensor:
        return self.total / self.videos


class HitAtOne(VideoMean):
    """Hit@1: the part of the videos whose most confident label is true."""

    def of_each(self, scores: Tensor, targets: Tensor) -> Tensor:
        return hits_of(targets, top(scores.float(), 1)[1])[:, 0]


class PrecisionAtEqualRecall(VideoMean):
    """PERR: of a video with k labels, the part of its k most confident ones that are true; their mean."""

    def of_each(self, scores: Tensor, targets: Tensor) -> Tensor:
        labels = (targets > 0).sum(1, keepdim=True)
        places = top(scores.float(), max(int(labels.max()), 1))[1]
        counted = torch.arange(places.shape[1], device=places.device) < labels
        return (hits_of(targets, places) & counted).sum(1) / labels[:, 0].clamp(min=1)
