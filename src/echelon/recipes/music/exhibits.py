"""What the report of a run shows of music beside its curves."""

from __future__ import annotations

from echelon.data.manifest import Dataset
from echelon.recipes.music.baselines import FREQUENCY, PREVIOUS
from echelon.recipes.music.learner import MusicLearner
from echelon.report.exhibits import Figures


def baselines_table(learner: MusicLearner, dataset: Dataset, split: str) -> Figures:
    """What both trivial predictors reach on a split."""
    reached = learner.baseline(dataset, split)
    lead = (
        "Bits per sample of two predictors that have only counted in training. The better of them is the trivial "
        "baseline; a uniform guess takes 8 bits."
    )
    rows = [
        ("how frequent each code is", reached[FREQUENCY]),
        ("how frequent it is after the code before it", reached[PREVIOUS]),
    ]
    return Figures("Trivial predictors", lead, ("what it knows", "bits per sample"), rows)
