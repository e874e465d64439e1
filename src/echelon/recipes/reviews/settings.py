"""The options of a training, and from them, a dataset and a run's configuration to the learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from echelon.data.division import TRAIN
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.recipes.reviews.described import counts_of, described
from echelon.recipes.reviews.learner import ReviewsLearner
from echelon.recipes.reviews.models.choice import Sizes
from echelon.train.config import RunConfig, option
from echelon.train.schedules import total_steps


@dataclass(frozen=True)
class Usual:
    """What a network is trained with where no flags are given."""

    sizes: Sizes
    lr: float
    epochs: int
    batch_size: int
    word_dropout: float = 0.0
    weight_decay: float = 0.0


USUAL = {
    "lstm": Usual(Sizes(embedding=100, hidden=32, layers=2, dense=32, buckets=0, dropout=0.5), 3e-3, 8, 128, 0.1),
    "gru": Usual(Sizes(embedding=100, hidden=32, layers=1, dense=32, buckets=0, dropout=0.5), 3e-3, 4, 64, 0.1),
    "ngrams": Usual(Sizes(embedding=16, hidden=0, layers=0, dense=0, buckets=1 << 18, dropout=0.0), 5e-3, 3, 64, 0.1),
}


@dataclass(frozen=True)
class TrainOptions:
    """What is trained, and how.

    None stands for what is usual for the model.
    """

    model: Literal["lstm", "gru", "ngrams"] = option(
        "lstm",
        "lstm: its state after the last word; gru: a mean of its states, weighted by attention; ngrams: a bag of words "
        "and pairs of neighbours, as fastText",
    )
    embedding: int | None = option(None, "numbers that stand for a word")
    hidden: int | None = option(None, "lstm, gru: units of a layer")
    layers: int | None = option(None, "lstm, gru: how many are stacked")
    dense: int | None = option(None, "lstm, gru: units of the layer after them")
    buckets: int | None = option(None, "ngrams: vectors that all pairs share; 0: words alone")
    dropout: float | None = option(None, "part of the values between layers that training leaves out")
    word_dropout: float | None = option(None, "part of the words that training takes for unknown ones")
    lr: float | None = option(None, "learning rate of AdamW at the peak of the schedule")
    weight_decay: float | None = option(None, "decoupled decay of AdamW")
    schedule: str = option("one-cycle", "constant, step, poly, cosine or one-cycle")
    warmup: float = option(0.1, "part of the steps in which the learning rate rises")
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced: the rarer a class, the more its rows count in the loss, as much in all as those of any other"
    )

    def __post_init__(self) -> None:
        for name in ("embedding", "hidden", "layers", "dense"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EchelonError(f"--{name} must be at least 1, got {value}")
        if self.buckets is not None and self.buckets < 0:
            raise EchelonError(f"--buckets must not be negative, got {self.buckets}")
        for name, below in (("dropout", 1), ("word_dropout", 1), ("warmup", 1), ("lr", 1e6), ("weight_decay", 1e6)):
            value = getattr(self, name)
            if value is not None and not 0 <= value < below:
                flag = f"--{name.replace('_', '-')}"
                raise EchelonError(f"{flag} must be at least 0 and below {below:g}, got {value}")

    @property
    def sizes(self) -> Sizes:
        """The usual sizes of the model, with those that were given in their place."""
        names = ("embedding", "hidden", "layers", "dense", "buckets", "dropout")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(USUAL[self.model].sizes, **given)


def defaults_of(options: TrainOptions) -> Mapping[str, Any]:
    """What a run takes where its flags are not given: fields of `RunConfig`."""
    usual = USUAL[options.model]
    return {"epochs": usual.epochs, "batch_size": usual.batch_size, "clip_norm": 1.0}


def learner_for(dataset: Dataset, options: TrainOptions, config: RunConfig) -> ReviewsLearner:
    """The learner for a dataset that `prepare` wrote.

    config: resolved for a number of workers; it says how many steps the schedule of the learning rate covers.

    Raises:
        DataError: the dataset is not one of reviews, or has no rows to train on.
    """
    its, usual, sizes, steps = described(dataset), USUAL[options.model], options.sizes, total_steps(dataset, config)
    counts = counts_of(dataset, TRAIN, its.classes)
    return ReviewsLearner(
        classes=list(its.classes),
        words=list(its.words),
        ids=its.ids,
        length=its.length,
        cleaning=its.cleaning,
        total_steps=steps,
        counts=counts,
        model_name=options.model,
        embedding=sizes.embedding,
        hidden=sizes.hidden,
        layers=sizes.layers,
        dense=sizes.dense,
        buckets=sizes.buckets,
        dropout=sizes.dropout,
        word_dropout=usual.word_dropout if options.word_dropout is None else options.word_dropout,
        lr=usual.lr if options.lr is None else options.lr,
        weight_decay=usual.weight_decay if options.weight_decay is None else options.weight_decay,
        schedule=options.schedule,
        warmup=options.warmup,
        class_weights=balanced(counts) if options.class_weights == "balanced" else [],
        fields=its.fields,
    )


def balanced(counts: list[int]) -> list[float]:
    """Weights with which each class that has rows counts alike, and all rows together as before: their mean is 1."""
    occurring = sum(count > 0 for count in counts)
    return [sum(counts) / (occurring * count) if count else 0.0 for count in counts]
