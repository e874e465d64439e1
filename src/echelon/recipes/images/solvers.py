"""Named training settings, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from echelon.errors import EchelonError

SCHEDULES = ("constant", "step", "cosine", "one-cycle")
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Solver:
    """All settings of a training that a model comes with; each can be changed by its flag.

    lr: at the peak of the schedule. bias_lr: factor on it for biases and the gains of norms. schedule, warmup: see
    `rate`. scale: factor on the centred pixels. init: see `Quick`. pad, mirror: augmentation in training, see
    `Classifier`. epochs, batch_size, batch_size_per_worker, sync_every: what a run takes if its flags are not given.
    """

    model: str
    about: str
    optimizer: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bias_lr: float = 1.0
    schedule: str = "one-cycle"
    warmup: float = 0.1
    label_smoothing: float = 0.0
    scale: float = 1 / 64
    init: str = "he"
    pad: int = 2
    mirror: bool = True
    epochs: int = 20
    batch_size: int | None = 64
    batch_size_per_worker: int | None = None
    sync_every: int = 10


SOLVERS: Mapping[str, Solver] = {
    "quick": Solver(
        model="quick",
        about="one-cycle SGD with crops and mirrors",
    ),
    "quick-caffe": Solver(
        model="quick",
        about="the original of Caffe and SparkNet: pixels of 0…255, Gaussian weights, no augmentation",
        lr=1e-3,
        weight_decay=4e-3,
        bias_lr=2.0,
        schedule="step",
        warmup=0.0,
        scale=1.0,
        init="caffe",
        pad=0,
        mirror=False,
        epochs=10,
        batch_size=None,
        batch_size_per_worker=100,
    ),
    "resnet": Solver(
        model="resnet",
        about="one-cycle SGD with crops and mirrors",
        lr=0.1,
    ),
}
"""By name. The first of a model is its default."""


def solver_of(model: str | None, name: str | None) -> Solver:
    """The solver of this name; without one the default of the model, and without a model that of quick.

    Raises:
        EchelonError: there is none of this name, or it is for another model.
    """
    models = dict.fromkeys(solver.model for solver in SOLVERS.values())
    if model is not None and model not in models:
        raise EchelonError(f"--model {model} is unknown; there are: {', '.join(models)}")
    fitting = {key: solver for key, solver in SOLVERS.items() if model in (None, solver.model)}
    if name is None:
        return next(iter(fitting.values()))
    if name not in fitting:
        where = f" for the model {model}" if model else ""
        raise EchelonError(f"--solver {name} does not exist{where}; there are: {', '.join(fitting)}")
    return fitting[name]


def rate(schedule: str, step: int, total: int, warmup: float) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        schedule: "constant"; "step", a tenth from 80 % of the steps on, as in Caffe's two solver files of quick;
            "cosine", from 1 to 0; "one-cycle", the same after a warm-up that begins at a 25th of the rate (Smith &
            Topin 2018).
        step: counted from 0. total: steps of the whole training.
        warmup: part of the steps in which the rate rises linearly to 1, for any schedule.

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
        return 1.0 if at < 0.8 * total else 0.1
    return 0.5 * (1 + math.cos(math.pi * (at - rising) / max(total - rising, 1)))
