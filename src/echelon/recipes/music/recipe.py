"""The music recipe as the command line and the demo see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echelon.data.manifest import Dataset
from echelon.recipes.music.clips import clips
from echelon.recipes.music.crawl.command import crawl
from echelon.recipes.music.exhibits import baselines_table
from echelon.recipes.music.generate_command import generate
from echelon.recipes.music.learner import MusicLearner
from echelon.recipes.music.made import write_songs
from echelon.recipes.music.options import PrepareOptions
from echelon.recipes.music.prepare import prepare
from echelon.recipes.music.settings import DEFAULTS, TrainOptions, learner_for
from echelon.recipes.music.sources import SUPPORTED
from echelon.recipes.recipe import Command, Demo, Recipe, Shown
from echelon.report.exhibits import Exhibit
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.sampled import Sampled

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


DEMO_SONGS, DEMO_SECONDS = 12, 4.0


def _write_demo(folder: Path) -> str:
    write_songs(folder, DEMO_SONGS, DEMO_SECONDS, endings=("ogg", "flac", "mp3", "wav"))
    return f"{DEMO_SONGS} made songs of {DEMO_SECONDS:g} seconds, chords that fade away, in four formats"


class MusicRecipe(Recipe):
    """Learns from songs what comes next in them, and makes new ones: WaveNet."""

    sources = SUPPORTED
    prepare_options = PrepareOptions
    train_options = TrainOptions
    demo = Demo(
        _write_demo,
        PrepareOptions(rate=8000, window=4096, context=512, test_fraction=0.2),
        TrainOptions(residual=16, skip=32, stacks=2, layers=8),
        {"epochs": 4},
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
        form = _ours(fitting).form if fitting is not None else None
        return prepare(session, source, url, options, fitting=form, overwrite=overwrite)

    def defaults(self, options: TrainOptions) -> Mapping[str, Any]:
        return DEFAULTS

    def learner(self, dataset: Dataset, options: TrainOptions, config: RunConfig) -> Learner:
        return learner_for(dataset, options, config)

    def exhibits(self, learner: Learner, arrays: Mapping[str, Any], shown: Shown | None) -> Iterator[Exhibit]:
        if shown is not None:
            yield baselines_table(_ours(learner), shown.dataset, shown.split)

    def samples(self, learner: Learner, samples: Sequence[Sampled]) -> Iterator[Exhibit]:
        yield from clips(samples)

    def commands(self) -> Sequence[Command]:
        return (crawl, generate)


def _ours(learner: Learner) -> MusicLearner:
    assert isinstance(learner, MusicLearner)
    return learner
