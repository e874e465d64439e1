"""What the report of a run shows of videos: how well each label is found, and some videos with their labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.recipes.video.columns import KEY
from echelon.recipes.video.learner import CONFIDENCES, IDS, TARGETS, VideosLearner
from echelon.report.exhibits import Figures, Passages, Sample
from echelon.train.predict import predict_batch

_SHOWN = 12
_TOLD = 5


def label_table(learner: VideosLearner, precision: Sequence[float | None]) -> Figures:
    """precision: the average precision of each label; None or NaN of one that no video had."""
    rows = [
        (learner.name_of(place), str(learner.labels[place]), learner.frequencies[place], _told(each))
        for place, each in enumerate(precision)
    ]
    lead = (
        "Average precision of the ranking of all videos for each label, the most frequent first. mAP is the mean of "
        "those that occur."
    )
    return Figures("Labels", lead, ("label", "number", "training videos", "average precision"), rows)


def looked_at(learner: VideosLearner, model: nn.Module, dataset: Dataset, split: str) -> Passages:
    """Some videos of a split, the first ones that have a label the model knows: nobody chose them."""
    rows = min(8 * _SHOWN, dataset.rows(split))
    (batch,) = span_batches(dataset, split, [*learner.columns, KEY], 0, rows, rows)
    samples = list(_samples(learner, model, batch))[:_SHOWN]
    right = sum(bool(sample.correct) for sample in samples)
    lead = f"Of these {len(samples)}, {right} have the label that the model is most sure of."
    return Passages("Some videos", lead, samples)


def _samples(learner: VideosLearner, model: nn.Module, batch: Batch) -> Iterator[Sample]:
    predicted = predict_batch(learner, model, batch)
    ids, confidences = np.asarray(predicted[IDS]), np.asarray(predicted[CONFIDENCES])
    targets = learner.prepare(batch, None)[TARGETS].numpy() > 0
    place_of = {label: place for place, label in enumerate(learner.labels)}
    for key, true, labels, sure in zip(batch.strings(KEY), targets, ids, confidences, strict=True):
        if not true.any():
            continue
        places = [place_of[label] for label in labels[:_TOLD].tolist()]
        said = ", ".join(f"{learner.name_of(at)} {each:.0%}" for at, each in zip(places, sure, strict=False))
        names = ", ".join(learner.name_of(at) for at in np.flatnonzero(true).tolist())
        yield Sample(text=key, fields={"predicted": said, "true": names}, correct=bool(true[places[0]]))


def _told(precision: float | None) -> str | float:
    return "no video" if precision is None or math.isnan(precision) else precision
