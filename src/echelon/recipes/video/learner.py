"""The learner of the video recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.video.columns import FRAME, LABELS, MOST_CLASSES, PICTURE, SCALE, SHIFT, SOUND, Level, level_of
from echelon.recipes.video.metrics.names import GAP, HIT, LOSS, MAP, PERR
from echelon.recipes.video.models.labeller import LSTM, MODELS, network
from echelon.train.learner import Learner
from echelon.train.schedules import SCHEDULES, rate

if TYPE_CHECKING:
    from torchmetrics import Metric

_log = logging.getLogger(__name__)

TARGETS = "targets"
"""What `prepare` adds: 1 for each label of a video, else 0, float32 [n, labels]."""
PER_LABEL = "precision_per_label"
"""The array with the average precision of each label."""
IDS, CONFIDENCES = "label_ids", "confidences"
_ROWS_AT_ONCE = 1024
_MOST_IN_A_TABLE = 100
_MUCH = 2e9
_BYTES_A_LABEL = 4.125


@dataclass
class VideosLearner(Learner):
    """Gives videos their labels, any number of each.

    level: "frame" or "video", what it was trained on. labels: the ids of those that it knows, the most frequent first.
    names: theirs, or none. frequencies: how many training videos each of them has. total_steps: of the whole training,
    for the schedule. max_frames: that a video was cut to in the dataset.
    The other fields are explained at `TrainOptions`.
    """

    changeable = ("total_steps",)

    level: Level
    labels: list[int]
    names: list[str]
    frequencies: list[int]
    total_steps: int
    max_frames: int = 300
    audio: bool = True
    model_name: str = LSTM
    units: int = 100
    hidden: list[int] = field(default_factory=lambda: [500, 1000])
    dropout: float = 0.2
    experts: int = 2
    keep_unlabelled: bool = False
    mean_precision: bool = True
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "one-cycle"
    warmup: float = 0.1

    def __post_init__(self) -> None:
        for flag, value, known in (("--model", self.model_name, MODELS), ("--schedule", self.schedule, SCHEDULES)):
            if value not in known:
                raise EchelonError(f"{flag} {value} is unknown; there are: {', '.join(known)}")
        if self.model_name == LSTM and self.level != FRAME:
            raise EchelonError(
                "--model lstm needs the frames of the videos, and this dataset has their means: choose logistic, mlp "
                "or moe, or prepare frame-level files"
            )
        if not self.labels:
            raise EchelonError("a model needs at least one label, and no training video has any")
        with torch.device("meta"):
            self.model()

    @property
    def length_column(self) -> str | None:  # type: ignore[override]
        return PICTURE[self.level] if self.level == FRAME else None

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return (PICTURE[self.level], *((SOUND[self.level],) if self.audio else ()), LABELS)

    def model(self) -> nn.Module:
        return network(
            self.model_name, self.level, len(self.labels), audio=self.audio, units=self.units,
            hidden=self.hidden, dropout=self.dropout, experts=self.experts,
        )  # fmt: skip

    def check(self, dataset: Dataset) -> None:
        """It must have the level and the features."""
        its = level_of(dataset)
        if its != self.level:
            raise DataError(f"{dataset.url} is of {its} level, the model was trained on {self.level} level")
        missing = [name for name in self.columns if name not in dataset.schema.names]
        if missing:
            raise DataError(f"{dataset.url} has no '{missing[0]}', which the model was trained on")

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        """Adds "targets", and turns stored frames into numbers of about -2 to 2; what pads a video is 0."""
        added: dict[str, Any] = {TARGETS: self._targets(batch)}
        if self.level == FRAME:
            for name in self.columns[:-1]:
                frames, lengths = batch[name], batch.lengths[name]
                present = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
                added[name] = (frames.float() * SCALE + SHIFT).mul_(present[:, :, None])
        return batch.replace(**added)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        """Binary cross-entropy, summed over the labels of each video; its weight is the number of videos that count."""
        targets = batch[TARGETS]
        rows = self._counted(targets)
        if not len(rows):
            return torch.stack([(p * 0).sum() for p in model.parameters() if p.requires_grad]).sum(), 0.0
        logits = self._logits(model, batch, rows)
        return binary_cross_entropy_with_logits(logits, targets[rows], reduction="sum"), float(len(rows))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def rate(self, step: int) -> float:
        return rate(self.schedule, step, self.total_steps, self.warmup)

    def metrics(self) -> dict[str, Metric]:
        from torchmetrics import MeanMetric

        from echelon.recipes.video.metrics.per_video import HitAtOne, PrecisionAtEqualRecall
        from echelon.recipes.video.metrics.precision import GlobalAveragePrecision, MeanAveragePrecision

        precision = {MAP: MeanAveragePrecision()} if self.mean_precision else {}
        others = {HIT: HitAtOne(), PERR: PrecisionAtEqualRecall(), LOSS: MeanMetric()}
        return {GAP: GlobalAveragePrecision(), **precision, **others}

    def arrays(self) -> dict[str, Metric]:
        """The average precision of each label, of not too many for a table."""
        from echelon.recipes.video.metrics.precision import PrecisionPerLabel

        shown = self.mean_precision and len(self.labels) <= _MOST_IN_A_TABLE
        return {PER_LABEL: PrecisionPerLabel()} if shown else {}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        targets = batch[TARGETS]
        rows = self._counted(targets)
        if not len(rows):
            return
        logits, targets = self._logits(model, batch, rows), targets[rows]
        confidences = logits.sigmoid()
        for name, metric in metrics.items():
            if name == LOSS:
                metric.update(binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1))
            else:
                metric.update(confidences, targets)

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of always giving how frequent each label was in training, see `label_prior`.

        Raises:
            DataError: not one video of the split has a label that the model knows.
        """
        from echelon.recipes.video.metrics.prior import label_prior

        needed = dataset.rows(split) * len(self.labels) * _BYTES_A_LABEL
        if self.mean_precision and needed > _MUCH:
            _log.warning(
                "mAP is exact and holds all scores of '%s', %.1f GB: leave it out with --no-mean-precision, "
                "or evaluate on a part of the split", split, needed / 1e9,
            )  # fmt: skip
        figures = label_prior(self.frequencies, self._all_targets(dataset, split))
        if not figures[GAP] >= 0:
            raise DataError(
                f"not one of {dataset.rows(split)} videos of '{split}' in {dataset.url} has one of the "
                f"{len(self.labels)} labels that the model knows, so nothing can be measured (predict needs none)"
            )
        return figures if self.mean_precision else {name: value for name, value in figures.items() if name != MAP}

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        """The labels with the highest confidences, at most 20, the highest first: their ids, int32 [n, 20], and the
        confidences, float32 [n, 20].
        """
        from echelon.recipes.video.metrics.precision import PREDICTIONS
        from echelon.recipes.video.metrics.ranking import top

        every = torch.arange(len(batch), device=batch[PICTURE[self.level]].device)
        confidences, places = top(self._logits(model, batch, every).sigmoid(), PREDICTIONS)
        ids = torch.tensor(self.labels, dtype=torch.int32, device=places.device)
        return {IDS: ids[places], CONFIDENCES: confidences}

    def name_of(self, place: int) -> str:
        """The name of the label at a place of `labels`, or its number where it has none."""
        named = self.names[place] if self.names else ""
        return named or str(self.labels[place])

    def _counted(self, targets: Tensor) -> Tensor:
        """The videos that count in the loss and the metrics (int64, [videos])."""
        if self.keep_unlabelled:
            return torch.arange(len(targets), device=targets.device)
        return targets.any(1).nonzero()[:, 0]

    def _logits(self, model: nn.Module, batch: Batch, rows: Tensor) -> Tensor:
        """Of some videos of a prepared batch, float32 [rows, labels]."""
        picture = PICTURE[self.level]
        given = [batch[picture], batch[SOUND[self.level]] if self.audio else None, batch.lengths.get(picture)]
        if len(rows) < len(batch):
            given = [None if each is None else each[rows] for each in given]
        logits: Tensor = model(*given)
        return logits.float()

    def _targets(self, batch: Batch) -> Tensor:
        """1 for each label of a video that the model knows, else 0, float32 [n, labels]."""
        ids = batch[LABELS].long()
        places = self._places.to(ids.device)[ids]
        known = (torch.arange(ids.shape[1], device=ids.device) < batch.lengths[LABELS][:, None]) & (places >= 0)
        targets = torch.zeros(len(ids), len(self.labels), device=ids.device)
        row, at = known.nonzero(as_tuple=True)
        targets[row, places[row, at]] = 1
        return targets

    @cached_property
    def _places(self) -> Tensor:
        """By id the place among `labels`, or -1 (int64, [65536])."""
        places = torch.full((MOST_CLASSES,), -1)
        places[self.labels] = torch.arange(len(self.labels))
        return places

    def _all_targets(self, dataset: Dataset, split: str) -> Iterator[Tensor]:
        for batch in span_batches(dataset, split, [LABELS], 0, dataset.rows(split), _ROWS_AT_ONCE):
            targets = self._targets(batch)
            yield targets[self._counted(targets)]
