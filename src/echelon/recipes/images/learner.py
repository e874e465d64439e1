"""The learner of the images recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.errors import DataError, EchelonError
from echelon.recipes.images.labelled import IMAGE, LABEL, MEAN, check_fits, check_labelled
from echelon.recipes.images.models.choice import network
from echelon.recipes.images.models.classifier import Classifier, seen_size
from echelon.recipes.images.models.googlenet import HEAD_WEIGHT
from echelon.recipes.images.rows import TRAIN, UNLABELLED
from echelon.recipes.images.solvers import OPTIMIZERS, SOLVERS
from echelon.train.learner import Learner
from echelon.train.schedules import SCHEDULES, rate

if TYPE_CHECKING:
    from torchmetrics import Metric

WINDOW = "window"
_TOP, _LEFT, _MIRROR = 1, 2, 3
_QUICK = SOLVERS["quick"]


@dataclass
class ImagesLearner(Learner):
    """Classifies images.

    classes: names in the order of the labels. size: height and width of the stored images. total_steps: of the whole
    training, for the schedule. raw_channels: of the unencoded pixels that the model was trained on, as of those in raw
    files that it shall evaluate or predict; see `PrepareOptions`.
    The other fields are explained at `ImagesOptions` and `Solver`.
    """

    columns: ClassVar[tuple[str, ...] | None] = (IMAGE, LABEL)
    changeable: ClassVar[tuple[str, ...]] = ("total_steps",)

    classes: list[str]
    size: list[int]
    total_steps: int
    model_name: str = _QUICK.model
    width: int = 32
    depth: int = 1
    init: str = _QUICK.init
    optimizer_name: str = _QUICK.optimizer
    lr: float = _QUICK.lr
    momentum: float = _QUICK.momentum
    weight_decay: float = _QUICK.weight_decay
    bias_lr: float = _QUICK.bias_lr
    bias_decay: float = _QUICK.bias_decay
    schedule: str = _QUICK.schedule
    step_every: int = _QUICK.step_every
    warmup: float = _QUICK.warmup
    label_smoothing: float = _QUICK.label_smoothing
    scale: float = _QUICK.scale
    crop: int = 0
    pad: int = _QUICK.pad
    mirror: bool = _QUICK.mirror
    raw_channels: str = "bgr"

    def __post_init__(self) -> None:
        _one_of("--schedule", self.schedule, SCHEDULES)
        _one_of("--optimizer", self.optimizer_name, OPTIMIZERS)
        _one_of("--init", self.init, ("he", "caffe"))
        if self.total_steps < 1:
            raise EchelonError(f"a training must have at least one step, got {self.total_steps}")
        with torch.device("meta"):
            self._net()

    def model(self) -> nn.Module:
        model = Classifier(self._net(), torch.zeros(3, *self.size), scale=self.scale, crop=self.crop, pad=self.pad)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def initialise(self, model: nn.Module, dataset: Dataset) -> None:
        """The mean image of the training split: the model keeps it, so that it can be used without the dataset."""
        assert isinstance(model, Classifier)
        mean = torch.from_numpy(dataset.asset(MEAN))
        if mean.shape != model.mean.shape:
            raise DataError(
                f"{dataset.url}: its mean image is {tuple(mean.shape)}, but its images are {tuple(model.mean.shape)}"
            )
        model.mean.copy_(mean)

    def check(self, dataset: Dataset) -> None:
        """Its labels must mean the same classes, and its images have the same size."""
        check_fits(dataset, self.classes, self.size)

    def _net(self) -> nn.Module:
        seen = seen_size(tuple(self.size), self.crop)
        return network(self.model_name, len(self.classes), seen, init=self.init, width=self.width, depth=self.depth)

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        """In training, adds where to cut each image and whether to mirror it: int64 [n, 3], see `Classifier`."""
        if draw is None:
            return batch
        seen = seen_size(tuple(self.size), self.crop)
        room = [whole + 2 * self.pad - part + 1 for whole, part in zip(self.size, seen, strict=True)]
        windows = [
            draw.integers(0, room[0], salt=_TOP),
            draw.integers(0, room[1], salt=_LEFT),
            draw.integers(0, 2 if self.mirror else 1, salt=_MIRROR),
        ]
        return batch.replace(**{WINDOW: torch.stack(windows, dim=1).to(batch[IMAGE].device)})

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        """In training with 0.3 times the loss of each auxiliary head, where the network has some."""
        given = model(batch[IMAGE], batch[WINDOW] if WINDOW in batch.columns else None)
        smoothing = self.label_smoothing if model.training else 0.0
        logits, *heads = (given,) if isinstance(given, Tensor) else given
        total = _cross_entropy(logits, batch[LABEL], smoothing)
        for head in heads:
            total = total + HEAD_WEIGHT * _cross_entropy(head, batch[LABEL], smoothing)
        return total, float(len(batch))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Biases and gains of norms have their own learning rate and decay."""
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim > 1]
        vectors = [p for p in trained if p.ndim == 1]
        others = {"params": vectors, "lr": self.lr * self.bias_lr, "weight_decay": self.weight_decay * self.bias_decay}
        groups: list[dict[str, Any]] = [{"params": matrices}, others]
        if self.optimizer_name == "adamw":
            return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def rate(self, step: int) -> float:
        return rate(self.schedule, step, self.total_steps, self.warmup, self.step_every)

    def metrics(self) -> dict[str, Metric]:
        from torchmetrics import MeanMetric
        from torchmetrics.classification import MulticlassAccuracy

        count = max(len(self.classes), 2)
        metrics: dict[str, Metric] = {"accuracy": MulticlassAccuracy(count, average="micro")}
        if count > 5:
            metrics["top5"] = MulticlassAccuracy(count, average="micro", top_k=5)
        return metrics | {"loss": MeanMetric()}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        check_labelled(int((batch[LABEL] == UNLABELLED).sum()), len(batch))
        logits, labels = model(batch[IMAGE]).float(), batch[LABEL]
        for name, metric in metrics.items():
            if name == "loss":
                metric.update(F.cross_entropy(logits, labels, reduction="none"))
            else:
                metric.update(logits, labels)

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of always giving the classes that are most frequent in training, in that order; where the dataset has no
        training rows, those that are most frequent in the split itself.

        Raises:
            DataError: images have no label.
        """
        counts = dataset.info["counts"]
        there = counts[split]
        total = sum(there.values())
        check_labelled(dataset.rows(split) - total, dataset.rows(split))
        known = counts.get(TRAIN) or there
        order = sorted(self.classes, key=lambda name: -known.get(name, 0))
        figures = {"accuracy": sum(there.get(name, 0) for name in order[:1]) / total}
        if len(self.classes) > 5:
            figures["top5"] = sum(there.get(name, 0) for name in order[:5]) / total
        return figures

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        """The name of the most probable class and its probability, float32 [n]."""
        probability, label = model(batch[IMAGE]).float().softmax(1).max(1)
        return {"label": [self.classes[i] for i in label.tolist()], "probability": probability}


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=smoothing)


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise EchelonError(f"{flag} {value} is unknown; there are: {', '.join(choices)}")
