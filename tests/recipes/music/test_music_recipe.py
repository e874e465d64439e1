"""What training of music comes to: far below what trivial predictors reach, with every strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_windows import echoes, music_dataset, noise

from echelon.api import Run, fit
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.recipes.music import RECIPE
from echelon.recipes.music.baselines import BITS, FREQUENCY, PREVIOUS
from echelon.recipes.music.learner import MusicLearner
from echelon.recipes.music.made import write_songs
from echelon.recipes.music.options import PrepareOptions
from echelon.recipes.music.settings import TrainOptions
from echelon.recipes.music.windows import Codes
from echelon.recipes.recipe import Shown
from echelon.report.exhibits import Figures
from echelon.sync import AllReduce, Averaging, DiLoCo, ParameterServer, Strategy
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = TrainOptions(residual=12, skip=16, stacks=1, layers=3, lr=2e-2)
WINDOW, CONTEXT = 500, 8


def trained(dataset: Dataset, folder: Path, options: TrainOptions, *, workers: int = 1, **given: Any) -> Run:
    strategy = given.pop("strategy", None)
    config = RunConfig(**{**RECIPE.defaults(options), **given}).resolved(workers)
    learner = RECIPE.learner(dataset, options, config)
    return fit(learner, dataset, config, strategy=strategy, workers=workers, run=folder, recipe="music")


def dataset_of(folder: Path, songs: list[Codes]) -> Dataset:
    """The last three are held back."""
    return music_dataset(folder, {"train": songs[:-3], "test": songs[-3:]}, window=WINDOW, context=CONTEXT)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("echoes") / "dataset", echoes(9, 1000))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(
        dataset, tmp_path_factory.mktemp("runs") / "echoes", SMALL, epochs=8, batch_size=2, eval_every="8epoch"
    )


def test_an_echo_is_heard_of_which_the_code_before_tells_nothing(run: Run) -> None:
    baseline = run.results["baseline"]
    assert set(run.metrics) == {"bits", "accuracy"}
    assert baseline[BITS] == min(baseline[FREQUENCY], baseline[PREVIOUS])
    assert baseline[BITS] > 2.9
    assert run.metrics[BITS] < 2


def test_noise_is_not_heard_into(tmp_path: Path) -> None:
    """A model whose question held its answer would have no trouble with it (trap 9)."""
    dataset = dataset_of(tmp_path / "dataset", noise(9, 1000, codes=8))
    found = trained(dataset, tmp_path / "run", SMALL, epochs=8, batch_size=2, eval_every="8epoch")
    assert found.metrics[BITS] > 2.99


def test_the_report_names_both_trivial_predictors(run: Run, dataset: Dataset) -> None:
    assert list(RECIPE.exhibits(run.learner, {}, None)) == []
    (table,) = (one for one in RECIPE.exhibits(run.learner, {}, Shown(run.model(), dataset, "test"))
                if isinstance(one, Figures))  # fmt: skip
    assert [row[1] for row in table.rows] == [run.results["baseline"][FREQUENCY], run.results["baseline"][PREVIOUS]]


def test_a_run_that_goes_on_stretches_its_schedule(run: Run, dataset: Dataset) -> None:
    config = RunConfig(epochs=16, batch_size=2).resolved(1)
    longer = RECIPE.resumed(run.learner, dataset, config)
    assert isinstance(longer, MusicLearner)
    assert isinstance(run.learner, MusicLearner)
    assert longer.total_steps == 2 * run.learner.total_steps


def test_the_defaults_are_a_configuration() -> None:
    RunConfig(**RECIPE.defaults(TrainOptions()))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "strategy", [AllReduce(), Averaging(4), DiLoCo(4), ParameterServer(4)], ids=lambda one: type(one).__name__
)
def test_every_strategy_hears_echoes(spark: SparkSession, dataset: Dataset, tmp_path: Path, strategy: Strategy) -> None:
    found = trained(dataset, tmp_path / "run", SMALL, workers=2, strategy=strategy, epochs=24, batch_size=2)
    assert found.metrics[BITS] < found.results["baseline"][BITS] - 0.5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_beats_what_it_is_held_against(spark: SparkSession, tmp_path: Path) -> None:
    demo = RECIPE.demo
    assert demo is not None
    demo.write(tmp_path / "raw")
    dataset = RECIPE.prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), demo.prepare, fitting=None, overwrite=False
    )
    found = trained(dataset, tmp_path / "run", demo.train, workers=2, **demo.config)
    assert found.metrics[BITS] < found.results["baseline"][BITS]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_piano_notes_reach_what_is_promised(spark: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    """A few passes of few steps, a part of what the page of music tells, on notes that training never heard."""
    source = str(shared_data / "music" / "piano_notes_mp3")
    options = PrepareOptions(test_fraction=0.2)
    dataset = RECIPE.prepare(spark, source, str(tmp_path / "dataset"), options, fitting=None, overwrite=False)
    assert not _songs(dataset, "train") & _songs(dataset, "test")
    found = trained(dataset, tmp_path / "run", TrainOptions(), workers=2, epochs=1, step_deadline=300.0)
    assert found.metrics[BITS] < found.results["baseline"][BITS] - 0.5
    again = RECIPE.prepare(
        spark, source, str(tmp_path / "again"), PrepareOptions(), fitting=found.learner, overwrite=False
    )
    assert again.splits == ("test",)
    assert open_dataset(again.url).info["window"] == dataset.info["window"]


def _songs(dataset: Dataset, split: str) -> set[str]:
    batches = span_batches(dataset, split, ["song"], 0, dataset.rows(split), 1000)
    return {song for batch in batches for song in batch.strings("song")}


@pytest.mark.slow
def test_songs_as_files_are_measured_as_they_are_in_a_dataset(spark: SparkSession, tmp_path: Path) -> None:
    write_songs(tmp_path / "raw", 4, 2.0, rate=22_050, endings=("mp3", "ogg", "flac", "wav"))
    options = PrepareOptions(rate=8000, window=1000, context=100, test_fraction=0.0)
    dataset = RECIPE.prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options, fitting=None, overwrite=False
    )
    found = trained(dataset, tmp_path / "run", SMALL, epochs=1, batch_size=4)
    raw = RECIPE.prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "again"), PrepareOptions(), fitting=found.learner, overwrite=False
    )
    stored = found.evaluate(dataset, split="train").metrics
    assert found.evaluate(raw).metrics == pytest.approx(stored, abs=1e-9)
