"""The video recipe as the command line and the demo see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelon.data.manifest import Dataset
from echelon.recipes.recipe import Command, Demo, Recipe, Shown
from echelon.recipes.video.download import download
from echelon.recipes.video.examples import Form
from echelon.recipes.video.exhibits import label_table, looked_at
from echelon.recipes.video.inspecting import inspect
from echelon.recipes.video.learner import PER_LABEL, VideosLearner
from echelon.recipes.video.made import made_videos, write_shards
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.prepare import prepare
from echelon.recipes.video.settings import DEFAULTS, TrainOptions, learner_for
from echelon.recipes.video.sources import SUPPORTED
from echelon.recipes.video.submission import write_submissions
from echelon.report.exhibits import Exhibit
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def _write_demo(folder: Path) -> str:
    write_shards(folder, made_videos(1200, classes=12, frames=(2, 20)), shards=4)
    return "1,200 made videos of 2 to 20 frames with 12 labels, as TFRecord files"


class VideoRecipe(Recipe):
    """Labels videos by their features: YouTube-8M, frames or means."""

    sources = SUPPORTED
    prepare_options = PrepareOptions
    train_options = TrainOptions
    demo = Demo(
        _write_demo,
        PrepareOptions(),
        TrainOptions(units=24, hidden="64"),
        {"epochs": 4, "batch_size": 32},
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
        wanted = None
        if fitting is not None:
            ours = _ours(fitting)
            wanted = Form(ours.level, ours.audio, ours.max_frames)
        return prepare(session, source, url, options, fitting=wanted, overwrite=overwrite)

    def defaults(self, options: TrainOptions) -> Mapping[str, Any]:
        return DEFAULTS

    def learner(self, dataset: Dataset, options: TrainOptions, config: RunConfig) -> Learner:
        return learner_for(dataset, options, config)

    def predicted(self, learner: Learner, predictions: Dataset) -> str:
        return f"for the challenge: {', '.join(write_submissions(predictions))}"

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterator[Exhibit]:
        ours = _ours(learner)
        if PER_LABEL in arrays:
            yield label_table(ours, arrays[PER_LABEL])
        if shown is not None:
            yield looked_at(ours, shown.model, shown.dataset, shown.split)

    def commands(self) -> Sequence[Command]:
        return (download, inspect)


def _ours(learner: Learner) -> VideosLearner:
    assert isinstance(learner, VideosLearner)
    return learner
