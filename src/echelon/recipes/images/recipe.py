"""The images recipe as the command line and the demo see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelon.data.manifest import Dataset
from echelon.recipes.images.download import download
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.made import write_digits
from echelon.recipes.images.options import ImagesOptions, PrepareOptions
from echelon.recipes.images.prepare import prepare
from echelon.recipes.images.samples import samples
from echelon.recipes.images.settings import defaults_of, learner_for
from echelon.recipes.images.sources import SUPPORTED
from echelon.recipes.recipe import Command, Demo, Recipe, Shown
from echelon.report.exhibits import Exhibit, Gallery
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def _write_demo(folder: Path) -> str:
    write_digits(folder)
    return "1,797 handwritten digits of 8x8 pixels, as PNG files in class folders (from scikit-learn)"


class ImagesRecipe(Recipe):
    """Classifies images: CIFAR-10, ImageNet, or any folder with a folder of images for each class."""

    sources = SUPPORTED
    prepare_options = PrepareOptions
    train_options = ImagesOptions
    demo = Demo(
        _write_demo,
        PrepareOptions(size="8x8"),
        ImagesOptions(lr=0.05, mirror=False, pad=1),
        {"epochs": 15, "batch_size": 64},
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
        learner = _ours(fitting) if fitting is not None else None
        return prepare(session, source, url, options, fitting=learner, overwrite=overwrite)

    def defaults(self, options: ImagesOptions) -> Mapping[str, Any]:
        return defaults_of(options)

    def learner(self, dataset: Dataset, options: ImagesOptions, config: RunConfig) -> Learner:
        return learner_for(dataset, options, config)

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterable[Exhibit]:
        if shown is None:
            return ()
        return (Gallery("Sample predictions", samples(_ours(learner), shown.model, shown.dataset, shown.split)),)

    def commands(self) -> Sequence[Command]:
        return (download,)


def _ours(learner: Learner) -> ImagesLearner:
    assert isinstance(learner, ImagesLearner)
    return learner
