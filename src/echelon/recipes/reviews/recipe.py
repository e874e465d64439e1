"""The reviews recipe as the command line and the demo see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.recipes.recipe import Command, Demo, Recipe, Shown
from echelon.recipes.reviews.cleaning import Cleaning, tokens_of
from echelon.recipes.reviews.columns import LABEL, LENGTH, TOKENS, UNLABELLED
from echelon.recipes.reviews.export import export_hdf5
from echelon.recipes.reviews.learner import CONFUSION, ReviewsLearner
from echelon.recipes.reviews.lines import Fields
from echelon.recipes.reviews.made import amazon, made_reviews, write_lines
from echelon.recipes.reviews.mistakes import worst_mistakes
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.prepare import prepare
from echelon.recipes.reviews.settings import TrainOptions, defaults_of, learner_for
from echelon.recipes.reviews.sources import SUPPORTED
from echelon.recipes.reviews.vocabulary import Vocabulary
from echelon.report.exhibits import ConfusionMatrix, Exhibit
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


DEMO_REVIEWS = 4_000


def _write_demo(folder: Path) -> str:
    write_lines(folder / "reviews.jsonl.gz", map(amazon, made_reviews(DEMO_REVIEWS, products=400)))
    return f"{DEMO_REVIEWS:,} made reviews of made products, a third of whose remarks are negated, as JSON lines"


class ReviewsRecipe(Recipe):
    """Tells how content reviewers are, by what they wrote: in two classes, or in stars."""

    sources = SUPPORTED
    prepare_options = PrepareOptions
    train_options = TrainOptions
    item = "a review"
    demo = Demo(
        _write_demo,
        PrepareOptions(length=60),
        TrainOptions(),
        {"epochs": 8, "batch_size": 64},
    )

    def prepare(
        self,
        session: SparkSession,
        source: str,
        url: str,
        options: PrepareOptions,
        *,
        fitting: Learner | None,
        overwrite: bool,
    ) -> Dataset:
        wanted = _fitting(_ours(fitting)) if fitting is not None else None
        return prepare(session, source, url, options, fitting=wanted, overwrite=overwrite)

    def defaults(self, options: TrainOptions) -> Mapping[str, Any]:
        return defaults_of(options)

    def learner(self, dataset: Dataset, options: TrainOptions, config: RunConfig) -> Learner:
        return learner_for(dataset, options, config)

    def batch_of(self, learner: Learner, items: Sequence[str]) -> Batch:
        """Reviews as they were written."""
        fitting = _fitting(_ours(learner))
        fitting.require_words()
        tokens = tokens_of(pa.array(items, pa.string()), fitting.cleaning)
        ids, lengths = Vocabulary(fitting.words).encode(tokens, fitting.length)
        columns = {
            TOKENS: torch.from_numpy(ids),
            LENGTH: torch.from_numpy(lengths),
            LABEL: torch.full((len(items),), UNLABELLED),
        }
        return Batch(columns, torch.arange(len(items)))

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterator[Exhibit]:
        ours = _ours(learner)
        if CONFUSION in arrays:
            yield ConfusionMatrix(ours.classes, arrays[CONFUSION])
        if shown is not None:
            yield worst_mistakes(ours, shown.model, shown.dataset, shown.split)

    def commands(self) -> Sequence[Command]:
        return (export_hdf5,)


def _fitting(learner: ReviewsLearner) -> Fitting:
    """What texts must become for a learner."""
    text, rating = learner.fields.get("text"), learner.fields.get("rating")
    fields = Fields(text, rating, learner.fields.get("product")) if text and rating else None
    cleaning = Cleaning(**learner.cleaning)
    return Fitting(tuple(learner.words), learner.length, tuple(learner.classes), cleaning, fields, learner.ids)


def _ours(learner: Learner) -> ReviewsLearner:
    assert isinstance(learner, ReviewsLearner)
    return learner
