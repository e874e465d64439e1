"""Named training settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from echelon.errors import EchelonError

OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Solver:
    """All settings of a training that a model comes with; each can be changed by its flag.

    lr: at the peak of the schedule. bias_lr, bias_decay: factors on it and on the decay for biases and the gains of
    norms. schedule, step_every, warmup: see `schedules.rate`. scale: factor on the centred pixels. init: see
    `network`. pad, mirror: augmentation in training, see `Classifier`. epochs, batch_size, batch_size_per_worker,
    sync_every, eval_batch_size: what a run takes if its flags are not given.
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


def remark_on(schedule: str, total: int, step_every: int) -> str:
    """What is odd about a schedule over `total` steps, or ""; see `schedules.rate` for the arguments."""
    if schedule != "step" or step_every < total:
        return ""
    return (
        f"the learning rate is never lowered: it would be after {step_every:,} steps, but the training has {total:,} "
        f"(set --step-every, such as {max(1, total * 2 // 9)} for Caffe's four falls, or train for more epochs)"
    )
