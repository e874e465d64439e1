"""The options of a training, and from them, a dataset and a run's configuration to the learner."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from echelon.data.manifest import Dataset
from echelon.errors import DataError, EchelonError
from echelon.recipes.video.columns import FRAME, LABEL_COUNTS, SOUND, VIDEO, level_of
from echelon.recipes.video.learner import VideosLearner
from echelon.recipes.video.models.labeller import LOGISTIC, LSTM, MLP, MODELS, MOE
from echelon.train.config import RunConfig, option
from echelon.train.schedules import SCHEDULES, total_steps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usual:
    """What a network is trained with where no flags are given."""

    lr: float
    weight_decay: float = 0.0


USUAL = {
    LSTM: Usual(lr=2e-3),
    LOGISTIC: Usual(lr=3e-2),
    MLP: Usual(lr=2e-3, weight_decay=0.05),
    MOE: Usual(lr=3e-2),
}
DEFAULTS: Mapping[str, Any] = {"epochs": 10, "batch_size": 128, "clip_norm": 1.0}
"""What a run takes where its flags are not given: fields of `RunConfig`."""
MODEL_OF = {FRAME: LSTM, VIDEO: LOGISTIC}
"""The network that is trained where none is named."""


@dataclass(frozen=True)
class TrainOptions:
    """What is trained, and how.

    None stands for what is usual for the model.
    """

    model: str | None = option(
        None,
        "lstm: one bidirectional LSTM for the picture and one for the sound, for frames; logistic, mlp, moe (mixture "
        "of experts): on a video's means (default: lstm for frames, logistic for means)",
    )
    labels: int | None = option(None, "the labels that most training videos have, so many (default: all that occur)")
    keep_unlabelled: bool = option(
        False, "videos without any of these labels count as having none; else they count neither in loss nor metrics"
    )
    audio: bool | None = option(None, "take the sound too (default: if the dataset has it)")
    units: int = option(100, "lstm: units of each LSTM in each direction", least=1)
    hidden: str = option("500,1000", "lstm, mlp: sizes of the dense layers, from the first to the last")
    dropout: float = option(0.2, "lstm, mlp: part of the values between layers that training leaves out")
    experts: int = option(2, "moe: experts of each label, beside the one that always says no", least=1)
    lr: float | None = option(None, "learning rate of AdamW at the peak of the schedule")
    weight_decay: float | None = option(None, "decoupled decay of AdamW")
    schedule: str = option("one-cycle", "constant, step, poly, cosine or one-cycle")
    warmup: float = option(0.1, "part of the steps in which the learning rate rises")
    mean_precision: bool = option(True, "measure mAP; it holds 4 bytes for each label of each video measured")

    def __post_init__(self) -> None:
        known = {"model": (None, *MODELS), "schedule": SCHEDULES}
        for name, values in known.items():
            if getattr(self, name) not in values:
                names = ", ".join(value for value in values if value)
                raise EchelonError(f"--{name} must be one of {names}, got {getattr(self, name)!r}")
        for name in ("labels", "units", "experts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EchelonError(f"--{name} must be at least 1, got {value}")
        for name, below in (("dropout", 1), ("warmup", 1), ("lr", 1e6), ("weight_decay", 1e6)):
            value = getattr(self, name)
            if value is not None and not 0 <= value < below:
                flag = f"--{name.replace('_', '-')}"
                raise EchelonError(f"{flag} must be at least 0 and below {below:g}, got {value}")
        _ = self.hidden_sizes

    @property
    def hidden_sizes(self) -> list[int]:
        sizes = [size.strip() for size in self.hidden.split(",")] if self.hidden.strip() else []
        if not all(size.isdecimal() and int(size) for size in sizes):
            raise EchelonError(
                f"--hidden must be sizes with commas between them, such as 500,1000, got {self.hidden!r}"
            )
        return [int(size) for size in sizes]


def most_frequent(counts: np.ndarray, wanted: int | None) -> list[int]:
    """The labels that most training videos have, the most frequent first; of equally frequent ones the smaller number.

    Args:
        counts: videos of each label, int64 [classes]. wanted: how many at most; None for all that occur.
    """
    order = np.argsort(-counts, kind="stable")[:wanted]
    return order[counts[order] > 0].tolist()


def learner_for(dataset: Dataset, options: TrainOptions, config: RunConfig) -> VideosLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers.

    Raises:
        DataError: the dataset is not one of videos, has no videos to train on, or lacks the sound. EchelonError: the
            options do not fit it.
    """
    level, steps = level_of(dataset), total_steps(dataset, config)
    has_sound = SOUND[level] in dataset.schema.names
    if options.audio and not has_sound:
        raise DataError(f"--audio: {dataset.url} has no '{SOUND[level]}': prepare it again with --audio")
    counts = dataset.asset(LABEL_COUNTS)
    labels = most_frequent(counts, options.labels)
    if options.labels is not None and len(labels) < options.labels:
        _log.warning("--labels %d: only %d labels occur in the training videos", options.labels, len(labels))
    names = dataset.info.get("label_names") or []
    model = options.model or MODEL_OF[level]
    usual = USUAL[model]
    return VideosLearner(
        level=level,
        labels=labels,
        names=[names[label] if label < len(names) else "" for label in labels] if names else [],
        frequencies=counts[labels].tolist(),
        total_steps=steps,
        max_frames=dataset.info.get("max_frames", 300),
        audio=has_sound if options.audio is None else options.audio,
        model_name=model,
        units=options.units,
        hidden=options.hidden_sizes,
        dropout=options.dropout,
        experts=options.experts,
        keep_unlabelled=options.keep_unlabelled,
        mean_precision=options.mean_precision,
        lr=usual.lr if options.lr is None else options.lr,
        weight_decay=usual.weight_decay if options.weight_decay is None else options.weight_decay,
        schedule=options.schedule,
        warmup=options.warmup,
    )
