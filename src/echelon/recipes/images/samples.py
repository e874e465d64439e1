"""A look at some rows and what a model makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.recipes.images.labelled import IMAGE, LABEL
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.rows import Pixels
from echelon.report.exhibits import Sample
from echelon.train.predict import predict_batch

SAMPLES = 24
THUMBNAIL = 96


def samples(
    learner: ImagesLearner, model: nn.Module, dataset: Dataset, split: str, count: int = SAMPLES
) -> list[Sample]:
    """Some rows of a split with their true and their predicted classes. Nobody chose them: they are the first ones of a
    shuffled split, and evenly spaced ones of another.
    """
    batches = _some(dataset, split, learner.columns, count)
    return [sample for batch in batches for sample in _looked_at(learner, model, batch)]


def _some(dataset: Dataset, split: str, columns: tuple[str, ...] | None, count: int) -> Iterator[Batch]:
    rows = dataset.rows(split)
    if dataset.manifest.shuffled:
        yield from span_batches(dataset, split, columns, 0, min(count, rows), count)
        return
    for row in sorted({rows * i // count for i in range(count)} if rows else ()):
        yield from span_batches(dataset, split, columns, row, row + 1, 1)


def _looked_at(learner: ImagesLearner, model: nn.Module, batch: Batch) -> Iterator[Sample]:
    predicted = predict_batch(learner, model, batch)
    names, probabilities = predicted[LABEL], np.asarray(predicted["probability"])
    for image, label, name, probability in zip(
        batch[IMAGE].numpy(), batch[LABEL].tolist(), names, probabilities, strict=True
    ):
        true = learner.classes[label]
        told = {"predicted": f"{name} ({probability:.0%})", "true": true}
        yield Sample(thumbnail(image), told, name == true)


def thumbnail(image: Pixels) -> Pixels:
    """An image, uint8 [3, H, W], with neither side longer than 96 pixels: each pixel the mean of a square."""
    _, height, width = image.shape
    by = -(-max(height, width) // THUMBNAIL)
    if by == 1 or min(height, width) < by:
        return image[:, ::by, ::by]
    whole = image[:, : height // by * by, : width // by * by]
    squares = whole.reshape(3, height // by, by, width // by, by)
    return squares.mean(axis=(2, 4)).round().astype(np.uint8)
