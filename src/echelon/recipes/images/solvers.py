"""Named training settings, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from echelon.errors import EchelonError

SCHEDULES = ("constant", "step", "poly", "cosine", "one-cycle")
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Solver:
    """All settings of a training that a model comes with; each can be changed by its flag.

    lr: at the peak of the schedule. bias_lr, bias_decay: factors on it and on the decay for biases and the gains of
    norms. schedule, step_every, warmup: see `rate`. scale: factor on the centred pixels. init: see `network`. pad,
    mirror: augmentation in training, see `Classifier`. epochs, batch_size, batch_size_per_worker, sync_every,
    eval_batch_size: what a run takes if its flags are not given.
    """

    model: str
    about: str
    optimizer: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bias_lr: float = 1.0
    bias_decay: float = 1.0
    schedule: str = "one-cycle"
    step_every: int = 0
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
    eval_batch_size: int = 500


def _for_fewer_images(model: str) -> Solver:
    return Solver(
        model=model,
        about="one-cycle AdamW with random crops and mirrors, for less data than ImageNet",
        optimizer="adamw",
        lr=3e-4,
        weight_decay=0.05,
        pad=0,
        eval_batch_size=50,
    )


def _for_imagenet(model: str, about: str) -> Solver:
    """What Caffe's ImageNet networks have in common; the batch and the rounds are SparkNet's."""
    return Solver(
        model=model,
        about=about,
        lr=0.01,
        bias_lr=2.0,
        bias_decay=0.0,
        schedule="step",
        step_every=100_000,
        warmup=0.0,
        scale=1.0,
        init="caffe",
        pad=0,
        epochs=90,
        batch_size=None,
        batch_size_per_worker=256,
        sync_every=50,
        eval_batch_size=50,
    )


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
    "caffenet": _for_fewer_images("caffenet"),
    "caffenet-caffe": _for_imagenet("caffenet", "the original of Caffe and SparkNet (models/bvlc_reference_caffenet)"),
    "alexnet": _for_fewer_images("alexnet"),
    "alexnet-caffe": _for_imagenet("alexnet", "the original of Caffe (models/bvlc_alexnet)"),
    "googlenet": _for_fewer_images("googlenet"),
    "googlenet-caffe": replace(
        _for_imagenet("googlenet", "the original of Caffe (quick_solver of models/bvlc_googlenet)"),
        weight_decay=2e-4,
        schedule="poly",
        step_every=0,
        epochs=60,
        batch_size_per_worker=64,
        sync_every=40,
    ),
}
"""By name. The first of a model is its default.

The originals are models/*/solver.prototxt of Caffe, of bvlc_googlenet quick_solver.prototxt. One thing is another: all
models subtract the mean image, that one Caffe's mean colour.
"""


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


def remark_on(schedule: str, total: int, step_every: int) -> str:
    """What is odd about a schedule over `total` steps, or ""; see `rate` for the arguments."""
    if schedule != "step" or step_every < total:
        return ""
    return (
        f"the learning rate is never lowered: it would be after {step_every:,} steps, but the training has {total:,} "
        f"(set --step-every, such as {max(1, total * 2 // 9)} for Caffe's four falls, or train for more epochs)"
    )
