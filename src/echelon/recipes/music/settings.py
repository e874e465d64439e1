"""The options of a training, and from them, a dataset and a run's configuration to the learner."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.recipes.music.baselines import packed
from echelon.recipes.music.clips import loud_beginning, stored
from echelon.recipes.music.columns import PAIR_COUNTS, form_of
from echelon.recipes.music.learner import MusicLearner
from echelon.train.config import RunConfig, option
from echelon.train.evaluate import evaluation_split
from echelon.train.schedules import SCHEDULES, total_steps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """Of a network, see `WaveNet`."""

    residual: int
    skip: int
    stacks: int
    layers: int


SIZES = {"small": Sizes(residual=32, skip=64, stacks=2, layers=10), "full": Sizes(64, 128, 2, 10)}
DEFAULTS: Mapping[str, Any] = {
    "epochs": 5,
    "batch_size": 4,
    "microbatch": 1,
    "eval_batch_size": 32,
    "clip_norm": 1.0,
}
"""What a run takes where its flags are not given: fields of `RunConfig`. One row is thousands of codes, so a forward
pass of one keeps processors busy, and more would not fit into their caches.
"""


@dataclass(frozen=True)
class TrainOptions:
    """What is trained, and how.

    None stands for what is usual for the model.
    """

    model: Literal["small", "full"] = option(
        "small", "small: 32 channels from layer to layer and 64 to the head; full: 64 and 128, a quarter as fast"
    )
    residual: int | None = option(None, "channels from layer to layer", least=1)
    skip: int | None = option(None, "channels from the layers to the head", least=1)
    stacks: int | None = option(None, "stacks of layers with dilations 1, 2, 4 … (default: 2)", least=1)
    layers: int | None = option(None, "layers of a stack; each doubles how far back it looks (default: 10)", least=1)
    lr: float = option(4e-3, "learning rate of Adam at the peak of the schedule")
    schedule: str = option("one-cycle", "constant, step, poly, cosine or one-cycle")
    warmup: float = option(0.1, "part of the steps in which the learning rate rises")

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise EchelonError(f"--schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        for name in ("residual", "skip", "stacks", "layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EchelonError(f"--{name} must be at least 1, got {value}")
        if not 0 < self.lr < math.inf:
            raise EchelonError(f"--lr must be more than 0, got {self.lr}")
        if not 0 <= self.warmup < 1:
            raise EchelonError(f"--warmup must be at least 0 and below 1, got {self.warmup}")

    @property
    def sizes(self) -> Sizes:
        """Those of the model, with those that were given in their place."""
        usual = SIZES[self.model]
        given = {name: getattr(self, name) for name in ("residual", "skip", "stacks", "layers")}
        return Sizes(**{name: getattr(usual, name) if value is None else value for name, value in given.items()})


def learner_for(dataset: Dataset, options: TrainOptions, config: RunConfig) -> MusicLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers.

    Raises:
        DataError: the dataset is not one of music, or has no rows to train on.
    """
    form, sizes, steps = form_of(dataset), options.sizes, total_steps(dataset, config)
    heard = evaluation_split(dataset, config.eval_split) or dataset.splits[0]
    learner = MusicLearner(
        sample_rate=form.rate,
        window=form.window,
        context=form.context,
        normalised=form.normalised,
        total_steps=steps,
        pairs=packed(dataset.asset(PAIR_COUNTS)),
        residual=sizes.residual,
        skip=sizes.skip,
        stacks=sizes.stacks,
        layers=sizes.layers,
        lr=options.lr,
        schedule=options.schedule,
        warmup=options.warmup,
        beginning=stored(loud_beginning(dataset, heard, form.rate)),
    )
    sees = learner.model().receptive_field
    if form.context < sees:
        _log.warning(
            "the model looks back on %d codes, but the windows bring along only %d, so the first codes of each window "
            "are predicted from fewer: prepare with --context %d, or take fewer --layers", sees, form.context, sees,
        )  # fmt: skip
    return learner
