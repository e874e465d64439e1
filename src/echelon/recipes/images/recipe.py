"""What the command line and the library ask of the images recipe: settings, learners, and a look at predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.plan import steps_in_epoch
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.images.learner import MEAN, ImagesLearner
from echelon.recipes.images.options import ImagesOptions
from echelon.recipes.images.rows import TRAIN, Pixels
from echelon.recipes.images.solvers import Solver, solver_of
from echelon.sync.allreduce import AllReduce
from echelon.sync.averaging import Averaging
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.predict import predict_batch
from echelon.train.stopping import last_step

THUMBNAIL = 96
_NOTHING: Mapping[str, Any] = {}


def solver_for(options: ImagesOptions) -> Solver:
    """The solver that the options name, with what they change of it.

    Raises:
        EchelonError: there is no such model or solver.
    """
    solver = solver_of(options.model, options.solver)
    known = {field.name for field in fields(Solver)} - {"model"}
    given = {
        f.name: value for f in fields(options) if f.name in known and (value := getattr(options, f.name)) is not None
    }
    return replace(solver, **given)


def run_config(options: ImagesOptions, given: Mapping[str, Any] = _NOTHING) -> RunConfig:
    """The configuration of a run: what is given, by the names of the fields of `RunConfig`, and for the rest the
    solver's epochs and batch size.
    """
    solver = solver_for(options)
    config: dict[str, Any] = {"epochs": solver.epochs}
    if given.get("batch_size") is None and given.get("batch_size_per_worker") is None:
        config |= {"batch_size": solver.batch_size, "batch_size_per_worker": solver.batch_size_per_worker}
    return RunConfig(**{**config, **given})


def strategy_for(options: ImagesOptions) -> Strategy:
    """The strategy that the solver was made for."""
    solver = solver_for(options)
    return AllReduce() if solver.sync_every == 1 else Averaging(solver.sync_every)


def learner_for(dataset: Dataset, options: ImagesOptions, config: RunConfig) -> ImagesLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers.

    Raises:
        DataError: the dataset is not one of labelled images. EchelonError: the options do not fit together.
    """
    classes, size = _described(dataset)
    solver = solver_for(options)
    return ImagesLearner(
        classes=classes,
        size=size,
        total_steps=_total_steps(dataset, config),
        model_name=solver.model,
        width=options.width,
        depth=options.depth,
        init=solver.init,
        optimizer_name=solver.optimizer,
        lr=solver.lr,
        momentum=solver.momentum,
        weight_decay=solver.weight_decay,
        bias_lr=solver.bias_lr,
        schedule=solver.schedule,
        warmup=solver.warmup,
        label_smoothing=solver.label_smoothing,
        scale=solver.scale,
        crop=options.crop,
        pad=solver.pad,
        mirror=solver.mirror,
    )


def rescaled(learner: ImagesLearner, dataset: Dataset, config: RunConfig) -> ImagesLearner:
    """The same learner with its schedule stretched over the steps of another configuration."""
    return replace(learner, total_steps=_total_steps(dataset, config))


def check_fits(learner: ImagesLearner, dataset: Dataset) -> None:
    """
    Raises:
        DataError: the labels of the dataset mean other classes than the learner's, or its images have another size.
    """
    classes, size = _described(dataset)
    if classes != learner.classes:
        raise DataError(
            f"the labels of {dataset.url} mean {', '.join(classes)}; the model was trained on "
            f"{', '.join(learner.classes)}, in this order: evaluate on the raw files, which are labelled anew"
        )
    if size != learner.size:
        raise DataError(
            f"the images of {dataset.url} are {size[1]}x{size[0]}, the model was trained on "
            f"{learner.size[1]}x{learner.size[0]}: evaluate on the raw files, or prepare them with this --size"
        )


@dataclass(frozen=True)
class Sample:
    """One row for the report: a thumbnail, uint8 [3, h, w], what to write below it, and whether the model is right."""

    image: Pixels
    fields: Mapping[str, str]
    correct: bool


def samples(learner: ImagesLearner, model: nn.Module, dataset: Dataset, split: str, count: int = 24) -> list[Sample]:
    """Some rows of a split with their true and their predicted classes. Nobody chose them: they are the first ones of a
    shuffled split, and evenly spaced ones of another.
    """
    return [
        sample
        for batch in _some(dataset, split, learner.columns, count)
        for sample in _looked_at(learner, model, batch)
    ]


def _some(dataset: Dataset, split: str, columns: tuple[str, ...] | None, count: int) -> Iterator[Batch]:
    rows = dataset.rows(split)
    if dataset.manifest.shuffled:
        yield from span_batches(dataset, split, columns, 0, min(count, rows), count)
        return
    for row in sorted({rows * i // count for i in range(count)} if rows else ()):
        yield from span_batches(dataset, split, columns, row, row + 1, 1)


def _looked_at(learner: ImagesLearner, model: nn.Module, batch: Batch) -> Iterator[Sample]:
    predicted = predict_batch(learner, model, batch)
    names, probabilities = predicted["label"], np.asarray(predicted["probability"])
    for image, label, name, probability in zip(
        batch["image"].numpy(), batch["label"].tolist(), names, probabilities, strict=True
    ):
        true = learner.classes[label]
        told = {"predicted": f"{name} ({probability:.0%})", "true": true}
        yield Sample(thumbnail(image), told, name == true)


def thumbnail(image: Pixels) -> Pixels:
    """An image, uint8 [3, H, W], with neither side longer than 96 pixels: each pixel the mean of a square."""
    _, height, width = image.shape
    by = -(-max(height, width) // THUMBNAIL)
    if by == 1 or min(height, width) < by:
        return image
    whole = image[:, : height // by * by, : width // by * by]
    squares = whole.reshape(3, height // by, by, width // by, by)
    return squares.mean(axis=(2, 4)).round().astype(np.uint8)


def _described(dataset: Dataset) -> tuple[list[str], list[int]]:
    """The classes, and height and width, of a dataset of labelled images."""
    schema, classes = dataset.schema, dataset.info.get("classes")
    if classes is None or not {"image", "label"} <= set(schema.names) or MEAN not in dataset.manifest.assets:
        raise DataError(
            f"{dataset.url} is not a dataset of labelled images (columns: {', '.join(schema.names)}): "
            "write one with 'echelon images prepare'"
        )
    _, height, width = schema.column("image").inner
    return list(classes), [height, width]


def _total_steps(dataset: Dataset, config: RunConfig) -> int:
    if TRAIN not in dataset.splits or not dataset.rows(TRAIN):
        raise DataError(f"{dataset.url} has no rows to train on: it needs a split '{TRAIN}'")
    return last_step(config, steps_in_epoch(dataset.rows(TRAIN), config.resolved_batch_size))
