"""The learner of the music recipe."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.music.baselines import ACCURACY, BITS, baseline_of, unpacked
from echelon.recipes.music.columns import CONTEXT, SAMPLES, Form, form_of
from echelon.recipes.music.examples import NONE, Examples, examples
from echelon.recipes.music.mulaw import CODES
from echelon.recipes.music.wavenet import WaveNet
from echelon.recipes.music.windows import pairs_of
from echelon.train.learner import Learner
from echelon.train.schedules import SCHEDULES, rate

if TYPE_CHECKING:
    from torchmetrics import Metric

_log = logging.getLogger(__name__)

TARGETS = "targets"
"""The column of predictions with the number of codes that were predicted."""
_ROWS_AT_ONCE = 256
_AT_ONCE = {"cpu": 1 << 14}
_AT_ONCE_ELSEWHERE = 1 << 18
"""Most codes of one forward pass in evaluation: 1 KB of logits for each."""


@dataclass
class MusicLearner(Learner):
    """Says of each code of a song how probable each of the 256 is to come next.

    sample_rate, window, context, normalised: of the windows that it was trained on, see `Form`. total_steps: of the
    whole training, for the schedule. pairs: how often codes followed each other in training, as `baselines.packed`
    gives it. beginning: what clips go on from, as `clips.stored` gives it. The other fields are explained at
    `TrainOptions`.
    """

    columns: ClassVar[tuple[str, ...] | None] = (SAMPLES, CONTEXT)
    length_column: ClassVar[str | None] = SAMPLES
    changeable: ClassVar[tuple[str, ...]] = ("total_steps",)

    sample_rate: int
    window: int
    context: int
    normalised: bool
    total_steps: int
    pairs: str
    residual: int = 32
    skip: int = 64
    stacks: int = 2
    layers: int = 10
    lr: float = 4e-3
    schedule: str = "one-cycle"
    warmup: float = 0.1
    beginning: str = ""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise EchelonError(f"--schedule {self.schedule} is unknown; there are: {', '.join(SCHEDULES)}")
        with torch.device("meta"):
            self.model()

    @property
    def form(self) -> Form:
        return Form(self.sample_rate, self.window, self.context, self.normalised)

    def model(self) -> WaveNet:
        return WaveNet(CODES, self.residual, self.skip, self.stacks, self.layers)

    def check(self, dataset: Dataset) -> None:
        """Its songs must have the same rate and loudness, and its windows bring along as much as the model looks back
        on, or as those of training did.
        """
        its, ours = form_of(dataset), self.form
        if its.rate != ours.rate:
            raise DataError(
                f"{dataset.url} has {its.rate} samples a second, the model was trained on {ours.rate}: "
                "give the raw files, or prepare them with this --rate"
            )
        if its.normalised != ours.normalised:
            words = {True: "scaled to a peak of 1", False: "as loud as they are"}
            raise DataError(
                f"the songs of {dataset.url} are {words[its.normalised]}, those that the model was trained on "
                f"{words[ours.normalised]}: give the raw files, or prepare them in the same way"
            )
        if its.context < min(self.model().receptive_field, ours.context):
            raise DataError(
                f"the windows of {dataset.url} bring along {its.context} codes, those that the model was trained on "
                f"{ours.context}: give the raw files, or prepare them with this --context"
            )

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        """The cross-entropy of all targets in nats, and how many there are."""
        sums, codes = [], 0
        for some in _examples(batch):
            sums.append(F.cross_entropy(_logits(model, some), some.targets, ignore_index=NONE, reduction="sum"))
            codes += some.codes
        return torch.stack(sums).sum(), float(codes)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.lr)

    def rate(self, step: int) -> float:
        return rate(self.schedule, step, self.total_steps, self.warmup)

    def metrics(self) -> dict[str, Metric]:
        from echelon.recipes.music.metrics import CodeMean

        return {BITS: CodeMean(), ACCURACY: CodeMean()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        for some in _examples(batch, _at_once(batch)):
            logits = _logits(model, some)
            metrics[BITS].update(_bits(logits, some.targets).sum(), some.codes)
            metrics[ACCURACY].update((logits.argmax(1) == some.targets).sum(), some.codes)

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of the better of two predictors that have counted codes and pairs of codes in training, see `baseline_of`."""
        there = np.zeros((CODES, CODES), np.int64)
        for batch in span_batches(dataset, split, self.columns, 0, dataset.rows(split), _ROWS_AT_ONCE):
            lengths = batch.lengths[SAMPLES].tolist()
            windows = [codes[:length] for codes, length in zip(batch[SAMPLES].numpy(), lengths, strict=True)]
            there += pairs_of(windows, batch[CONTEXT].tolist())
        return baseline_of(unpacked(self.pairs), there)

    def sample(self, model: nn.Module) -> Mapping[str, np.ndarray]:
        """A clip of a new song, as codes; see `clips`."""
        from echelon.recipes.music.clips import make_clip, restored

        return make_clip(model, self.sample_rate, restored(self.beginning))

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        """How many bits the codes of each window take under the model, a mean, float32 [n], and how many codes these
        are, int32 [n]: the fewer bits, the more it is like what the model was trained on.
        """
        device = batch[SAMPLES].device
        bits, codes = torch.empty(len(batch), device=device), torch.empty(len(batch), dtype=torch.int32, device=device)
        for some in _examples(batch, _at_once(batch)):
            targets = (some.targets != NONE).sum(1)
            sums = _bits(_logits(model, some), some.targets).double().sum(1)
            bits[some.rows], codes[some.rows] = (sums / targets).float(), targets.int()
        return {BITS: bits, TARGETS: codes}


def _examples(batch: Batch, at_once: int | None = None) -> Iterator[Examples]:
    return examples(batch[SAMPLES], batch.lengths[SAMPLES], batch[CONTEXT], at_once)


def _at_once(batch: Batch) -> int:
    return _AT_ONCE.get(batch[SAMPLES].device.type, _AT_ONCE_ELSEWHERE)


def _logits(model: nn.Module, some: Examples) -> Tensor:
    """Float32 [k, 256, longest]."""
    logits: Tensor = model(some.inputs, keep=some.targets.shape[1])
    return logits.float()


def _bits(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each target, float32 [k, longest]; 0 where there is none."""
    return F.cross_entropy(logits, targets, ignore_index=NONE, reduction="none") / math.log(2)
