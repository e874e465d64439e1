"""The learner of the reviews recipe, whose steps are noted."""

from __future__ import annotations

from dataclasses import dataclass

from learners import note
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.recipes.reviews.learner import ReviewsLearner


@dataclass
class NotedReviews(ReviewsLearner):
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        note(model, batch)
        return super().loss(model, batch)
