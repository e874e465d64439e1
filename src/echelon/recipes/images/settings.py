"""From options, a dataset and a run's configuration to the learner, with the solver's values wherever none is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from echelon.data.manifest import Dataset
from echelon.recipes.images.labelled import described
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.models.choice import usual_crop
from echelon.recipes.images.options import ImagesOptions
from echelon.recipes.images.solvers import Solver, remark_on, solver_of
from echelon.train.config import RunConfig
from echelon.train.schedules import total_steps

_log = logging.getLogger(__name__)


def solver_for(options: ImagesOptions) -> Solver:
    """The solver that the options name, with what they change of it.

    Raises:
        EchelonError: there is no such model or solver.
    """
    solver = solver_of(options.model, options.solver)
    known = {field.name for field in fields(Solver)} - {"model"}
    given = {f.name: getattr(options, f.name) for f in fields(options) if f.name in known}
    return replace(solver, **{name: value for name, value in given.items() if value is not None})


def defaults_of(options: ImagesOptions) -> Mapping[str, Any]:
    """What a run takes where its flags are not given: fields of `RunConfig`, and "sync_every"."""
    solver = solver_for(options)
    return {
        "epochs": solver.epochs,
        "batch_size": solver.batch_size,
        "batch_size_per_worker": solver.batch_size_per_worker,
        "sync_every": solver.sync_every,
        "eval_batch_size": solver.eval_batch_size,
    }


def learner_for(dataset: Dataset, options: ImagesOptions, config: RunConfig) -> ImagesLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers. A
    schedule that ends before its first fall, as the originals' do on many workers or little data, is logged as a
    warning.

    Raises:
        DataError: the dataset is not one of labelled images. EchelonError: the options do not fit together.
    """
    classes, size = described(dataset)
    solver = solver_for(options)
    steps = total_steps(dataset, config)
    if remark := remark_on(solver.schedule, steps, solver.step_every):
        _log.warning("%s", remark)
    return ImagesLearner(
        classes=classes,
        size=size,
        total_steps=steps,
        model_name=solver.model,
        width=options.width,
        depth=options.depth,
        init=solver.init,
        optimizer_name=solver.optimizer,
        lr=solver.lr,
        momentum=solver.momentum,
        weight_decay=solver.weight_decay,
        bias_lr=solver.bias_lr,
        bias_decay=solver.bias_decay,
        schedule=solver.schedule,
        step_every=solver.step_every,
        warmup=solver.warmup,
        label_smoothing=solver.label_smoothing,
        scale=solver.scale,
        crop=options.crop if options.crop is not None else usual_crop(solver.model, (size[0], size[1])),
        pad=solver.pad,
        mirror=solver.mirror,
        raw_channels=dataset.info.get("raw_channels", "bgr"),
    )
