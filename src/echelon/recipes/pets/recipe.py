"""The pets recipe as the command line and the demo see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.recipes.pets.curve_command import curve
from echelon.recipes.pets.exhibits import some_images, tables
from echelon.recipes.pets.items import answer_of, batch_of
from echelon.recipes.pets.learner import CONFUSION, SvmLearner
from echelon.recipes.pets.made import BREEDS, write_pets
from echelon.recipes.pets.networks.weights import RANDOM
from echelon.recipes.pets.options import PrepareOptions
from echelon.recipes.pets.prepare import prepare
from echelon.recipes.pets.results import write_results
from echelon.recipes.pets.settings import TrainOptions, defaults_of, learner_for, rescaled
from echelon.recipes.pets.sheet import contact_sheet
from echelon.recipes.pets.sources import SUPPORTED
from echelon.recipes.pixels.decode import SUFFIXES
from echelon.recipes.recipe import Command, Demo, Recipe, Shown
from echelon.report.exhibits import Exhibit
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.sources import Data

DEMO_IMAGES = 40


def _write_demo(folder: Path) -> str:
    write_pets(folder, each=DEMO_IMAGES)
    return (
        f"{DEMO_IMAGES * len(BREEDS)} made photographs of {len(BREEDS)} made breeds, as JPEG files; their "
        "features come from a SqueezeNet of random weights, so that no weights are needed"
    )


class PetsRecipe(Recipe):
    """Tells breeds of pets apart by the features of a network that was trained on ImageNet."""

    sources = SUPPORTED
    prepare_options = PrepareOptions
    train_options = TrainOptions
    item = "the path of an image"
    item_endings = SUFFIXES
    demo = Demo(
        _write_demo,
        PrepareOptions(model="squeezenet", weights=RANDOM),
        TrainOptions(solver="steps"),
        {"epochs": 60, "batch_size": 32},
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
        wanted = _ours(fitting).fitting if fitting is not None else None
        return prepare(session, source, url, options, fitting=wanted, overwrite=overwrite)

    def defaults(self, options: TrainOptions) -> Mapping[str, Any]:
        return defaults_of(options)

    def learner(self, dataset: Dataset, options: TrainOptions, config: RunConfig) -> Learner:
        return learner_for(dataset, options, config)

    def data(self, dataset: Dataset, options: TrainOptions) -> Data:
        return options.divided(dataset)

    def resumed(self, learner: Learner, dataset: Dataset, config: RunConfig) -> Learner:
        return rescaled(_ours(learner), config)

    def batch_of(self, learner: Learner, items: Sequence[str]) -> Batch:
        return batch_of(_ours(learner), items)

    def answer(self, learner: Learner, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return answer_of(_ours(learner), row)

    def trained(self, run: RunFolder, learner: Learner, arrays: Mapping[str, Any]) -> str:
        return write_results(run, _ours(learner), arrays)

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterator[Exhibit]:
        ours = _ours(learner)
        if CONFUSION in arrays:
            yield from tables(ours, arrays)
        if shown is not None:
            yield some_images(ours, shown.model, shown.dataset, shown.split)

    def commands(self) -> Sequence[Command]:
        return (curve, contact_sheet)


def _ours(learner: Learner) -> SvmLearner:
    assert isinstance(learner, SvmLearner)
    return learner
