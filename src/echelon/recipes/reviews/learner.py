"""The learner of the reviews recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.recipes.reviews.columns import LABEL, LENGTH, PAD, TOKENS, UNKNOWN, UNLABELLED
from echelon.recipes.reviews.described import check_fits, check_labelled, counts_of
from echelon.recipes.reviews.models.choice import Sizes, network
from echelon.recipes.reviews.models.padding import inside
from echelon.train.learner import Learner
from echelon.train.majority import majority_baseline
from echelon.train.schedules import SCHEDULES, rate

if TYPE_CHECKING:
    from torchmetrics import Metric

CONFUSION = "confusion"
"""The array with the confusion matrix."""
KNOWN = "known"
"""The column of predictions with the number of known words."""
_FORGOTTEN = 1


@dataclass
class ReviewsLearner(Learner):
    """Tells how content reviewers are.

    classes: names in the order of the labels. words: the vocabulary in the order of its ids; empty where it is not
    known, as that of the old HDF5 files. ids: how many there may be. length: of "tokens" in the dataset that it was
    trained on. cleaning: fields of `Cleaning`, by which texts became words. fields: of `Fields`, where reviews stood in
    their lines. total_steps: of the whole training, for the schedule. counts: rows of each class in training.
    class_weights: factor on the loss of each class; empty for equal ones.
    The other fields are explained at `TrainOptions`.
    """

    columns: ClassVar[tuple[str, ...] | None] = (TOKENS, LENGTH, LABEL)
    changeable: ClassVar[tuple[str, ...]] = ("total_steps",)

    classes: list[str]
    words: list[str]
    ids: int
    length: int
    cleaning: dict[str, bool]
    total_steps: int
    counts: list[int]
    model_name: str = "lstm"
    embedding: int = 100
    hidden: int = 32
    layers: int = 2
    dense: int = 32
    buckets: int = 0
    dropout: float = 0.5
    word_dropout: float = 0.0
    lr: float = 2e-3
    weight_decay: float = 0.0
    schedule: str = "one-cycle"
    warmup: float = 0.1
    class_weights: list[float] = field(default_factory=list)
    fields: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise EchelonError(f"--schedule {self.schedule} is unknown; there are: {', '.join(SCHEDULES)}")
        with torch.device("meta"):
            self.model()

    def model(self) -> nn.Module:
        sizes = Sizes(self.embedding, self.hidden, self.layers, self.dense, self.buckets, self.dropout)
        return network(self.model_name, self.ids, len(self.classes), sizes)

    def check(self, dataset: Dataset) -> None:
        """Its labels must mean the same classes, and its ids the same words."""
        check_fits(dataset, self.classes, self.words, self.ids)

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        """In training, exchanges each word for the unknown one with a probability of `word_dropout`."""
        tokens = batch[TOKENS].long()
        if draw is not None and self.word_dropout:
            forgotten = (draw.uniform(tokens.shape[1], _FORGOTTEN) < self.word_dropout).to(tokens.device)
            tokens = tokens.masked_fill(forgotten & (tokens != PAD), UNKNOWN)
        return batch.replace(**{TOKENS: tokens})

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        """The cross-entropy, in training times the weight of each row's class; a row counts as one."""
        weights = self.class_weights if model.training else []
        factors = torch.tensor(weights, device=batch[LABEL].device) if weights else None
        logits = model(batch[TOKENS], batch[LENGTH]).float()
        return F.cross_entropy(logits, batch[LABEL], factors, reduction="sum"), float(len(batch))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def rate(self, step: int) -> float:
        return rate(self.schedule, step, self.total_steps, self.warmup)

    def metrics(self) -> dict[str, Metric]:
        from echelon.train.classification import classification_metrics

        return classification_metrics(len(self.classes))

    def arrays(self) -> dict[str, Metric]:
        from torchmetrics.classification import MulticlassConfusionMatrix

        return {CONFUSION: MulticlassConfusionMatrix(len(self.classes))}

    def update(self, metrics: dict[str, Metric], model: nn.Module, batch: Batch) -> None:
        labels = batch[LABEL]
        check_labelled(int((labels == UNLABELLED).sum()), len(batch))
        logits = model(batch[TOKENS], batch[LENGTH]).float()
        said = logits.argmax(1)
        for name, metric in metrics.items():
            if name == "loss":
                metric.update(F.cross_entropy(logits, labels, reduction="none"))
            else:
                metric.update(said, labels)

    def baseline(self, dataset: Dataset, split: str) -> dict[str, float]:
        """Of always giving the class that was most frequent in training, see `majority_baseline`.

        Raises:
            DataError: reviews have no rating.
        """
        there = counts_of(dataset, split, self.classes)
        check_labelled(dataset.rows(split) - sum(there), dataset.rows(split))
        return majority_baseline(self.counts, there)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | list[str]]:
        """The name of the most probable class, its probability, float32 [n], and how many of the words that were read
        are known, int64 [n]: where none is, the answer says nothing of the text.
        """
        tokens, lengths = batch[TOKENS], batch[LENGTH]
        probability, label = model(tokens, lengths).float().softmax(1).max(1)
        known = (inside(tokens, lengths) & (tokens > UNKNOWN)).sum(1)
        return {LABEL: [self.classes[i] for i in label.tolist()], "probability": probability, KNOWN: known}
