"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

from echelon.data.manifest import Dataset
from echelon.data.plan import steps_in_epoch
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.stopping import last_step
from echelon.train.worker import SPLIT, check_trainable

TOTAL_STEPS = "total_steps"
SCHEDULES = ("constant", "step", "poly", "cosine", "one-cycle")


def rate(schedule: str, step: int, total: int, warmup: float, step_every: int = 0) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        schedule: "constant"; "step", see `step_every`; "poly", the root of the part of the steps that is left, Caffe's
            policy with the power 0.5 of GoogLeNet's quick solver; "cosine", from 1 to 0; "one-cycle", the same after a
            warm-up that begins at a 25th of the rate (Smith & Topin 2018).
        step: counted from 0. total: steps of the whole training.
        warmup: part of the steps in which the rate rises linearly to 1, for any schedule.
        step_every: "step" takes a tenth after so many steps, and again after as many more; for 0 once, from 80 % of the
            steps on, as in Caffe's two solver files of quick.

    After the last step the rate stays what it was there.
    """
    at = min(step, total - 1)
    rising = round(warmup * total)
    if at < rising:
        start = 1 / 25 if schedule == "one-cycle" else 0.0
        return start + (1 - start) * (at + 1) / rising
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        if step_every:
            return 0.1 ** (at // step_every)
        return 1.0 if at < 0.8 * total else 0.1
    if schedule == "poly":
        return math.sqrt(1 - at / total)
    return 0.5 * (1 + math.cos(math.pi * (at - rising) / max(total - rising, 1)))


def total_steps(dataset: Dataset, config: RunConfig) -> int:
    """The global steps that a training on a dataset is to have, which a schedule covers. config: resolved.

    Raises:
        DataError: the dataset has no rows to train on.
    """
    check_trainable(dataset)
    return last_step(config, steps_in_epoch(dataset.rows(SPLIT), config.resolved_batch_size))


def rescaled(learner: Learner, dataset: Dataset, config: RunConfig) -> Learner:
    """The same learner with its schedule stretched over the steps of another configuration, if it says by a changeable
    field `total_steps` how many these are.
    """
    if TOTAL_STEPS not in learner.changeable:
        return learner
    stretched: Learner = replace(cast(Any, learner), **{TOTAL_STEPS: total_steps(dataset, config)})
    return stretched
