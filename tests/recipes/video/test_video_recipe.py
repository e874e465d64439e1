"""The recipe from TFRecord files to predictions, and what the networks can and cannot learn."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from made_video_dataset import video_dataset

from echelon.api import Run, fit
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.driver import Place
from echelon.errors import DataError
from echelon.inference import predict_run
from echelon.recipes.recipe import Shown
from echelon.recipes.video import RECIPE
from echelon.recipes.video.learner import CONFIDENCES, IDS, PER_LABEL, VideosLearner
from echelon.recipes.video.made import made_means, made_ordered, made_videos, write_shards
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.settings import TrainOptions
from echelon.recipes.video.submission import HEADER, lines
from echelon.report.exhibits import Figures, Passages
from echelon.sync import AllReduce, Averaging, DiLoCo, ParameterServer, Strategy
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = TrainOptions(units=16, hidden="32", lr=5e-3)


def trained(dataset: Dataset, folder: Path, options: TrainOptions, *, workers: int = 1, **given: Any) -> Run:
    strategy = given.pop("strategy", None)
    config = RunConfig(**{**RECIPE.defaults(options), "batch_size": 32, **given}).resolved(workers)
    learner = RECIPE.learner(dataset, options, config)
    return fit(learner, dataset, config, strategy=strategy, workers=workers, run=folder, recipe="video")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, made_videos(300, 9, frames=(1, 8)), shards=3)
    return folder


@pytest.fixture(scope="module")
def dataset(spark: SparkSession, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    url = str(tmp_path_factory.mktemp("videos") / "dataset")
    return RECIPE.prepare(spark, str(shards), url, PrepareOptions(), fitting=None, overwrite=False)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = TrainOptions(model="logistic", labels=6)
    return trained(dataset, tmp_path_factory.mktemp("runs") / "logistic", options, epochs=8)


def test_files_are_learned_far_beyond_the_label_prior(run: Run) -> None:
    baseline = run.results["baseline"]
    assert set(run.metrics) == {"gap@20", "map", "hit@1", "perr", "loss"}
    for name in ("gap@20", "map", "hit@1", "perr"):
        assert 1 - run.metrics[name] < (1 - baseline[name]) / 2


def test_predictions_of_files_are_submitted_in_their_order(
    run: Run, spark: SparkSession, shards: Path, tmp_path: Path
) -> None:
    """Also those of videos without a label that the model knows, once each, and as the Parquet files say."""
    raw = RECIPE.prepare(
        spark, str(shards), str(tmp_path / "raw"), PrepareOptions(), fitting=run.learner, overwrite=False
    )
    assert [raw.rows(split) for split in raw.splits] == [300]
    predicted = run.predict(raw, tmp_path / "out")
    (tmp_path / "out" / "old.csv").write_text(f"{HEADER}of another split, from before")
    (tmp_path / "out" / "mine.csv").write_text("of the user")
    assert str(tmp_path / "out" / "test.csv") in RECIPE.predicted(run.learner, predicted)
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {"test.csv", "mine.csv"}
    (batch,) = span_batches(predicted, "test", ["key", IDS, CONFIDENCES], 0, 300, 300)
    with (tmp_path / "out" / "test.csv").open(newline="") as file:
        header, *submitted = csv.reader(file)
    assert header == ["VideoId", "LabelConfidencePairs"]
    assert [key for key, _ in submitted] == batch.strings("key")
    assert len(set(batch.strings("key"))) == 300
    for row, (_, pairs) in enumerate(submitted):
        numbers = pairs.split(" ")
        assert list(map(int, numbers[::2])) == batch[IDS][row].tolist()
        assert list(map(float, numbers[1::2])) == pytest.approx(batch[CONFIDENCES][row].tolist(), rel=1e-5)
        assert sorted(map(float, numbers[1::2]), reverse=True) == list(map(float, numbers[1::2]))
    assert lines(batch.slice(0, 2)) == "".join(f"{key},{pairs}\n" for key, pairs in submitted[:2])


def test_predictions_whose_submission_was_not_finished_are_half_written(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    def breaks_off(predictions: Dataset) -> None:
        (tmp_path / "out" / "test.csv").write_text(HEADER[:9])
        raise RuntimeError("killed")

    folder, place = RunFolder(run.url), Place()
    with pytest.raises(RuntimeError, match="killed"):
        predict_run(folder, dataset, str(tmp_path / "out"), place, before=breaks_off)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(tmp_path / "out"))
    told: list[str] = []
    predict_run(
        folder, dataset, str(tmp_path / "out"), place, before=lambda p: told.append(RECIPE.predicted(run.learner, p))
    )
    assert all(str(tmp_path / "out" / f"{split}.csv") in told[0] for split in ("train", "test"))
    (tmp_path / "out" / "test.csv").write_text("of the user")
    with pytest.raises(DataError, match=r"test.csv is no submission.*move it away"):
        RECIPE.predicted(run.learner, open_dataset(str(tmp_path / "out")))


def test_the_report_has_the_figure_of_each_label_and_some_videos(run: Run, dataset: Dataset) -> None:
    learner = run.learner
    assert isinstance(learner, VideosLearner)
    assert list(learner.arrays()) == [PER_LABEL]
    (table,) = RECIPE.exhibits(learner, {PER_LABEL: [0.5, float("nan"), None, 1.0, 0.1, 0.2]}, None)
    assert isinstance(table, Figures)
    assert [row[1] for row in table.rows] == [str(label) for label in learner.labels]
    assert [row[3] for row in table.rows] == [0.5, "no video", "no video", 1.0, 0.1, 0.2]
    (some,) = RECIPE.exhibits(learner, {}, Shown(run.model(), dataset, "test"))
    assert isinstance(some, Passages)
    assert len(some.samples) == 12
    for sample in some.samples:
        first = sample.fields["predicted"].split()[0]
        assert sample.correct == (first in sample.fields["true"].split(", "))
    assert sum(bool(sample.correct) for sample in some.samples) >= 8


def test_files_are_cut_as_those_that_the_model_was_trained_on(
    spark: SparkSession, shards: Path, tmp_path: Path
) -> None:
    short = RECIPE.prepare(
        spark, str(shards), str(tmp_path / "short"), PrepareOptions(max_frames=3), fitting=None, overwrite=False
    )
    learner = RECIPE.learner(short, TrainOptions(), RunConfig().resolved(1))
    again = RECIPE.prepare(
        spark, str(shards), str(tmp_path / "again"), PrepareOptions(), fitting=learner, overwrite=False
    )
    (batch,) = span_batches(again, "test", ["rgb"], 0, 300, 300)
    assert batch["rgb"].shape[1] == 3


def test_the_defaults_are_for_any_model() -> None:
    RunConfig(**RECIPE.defaults(TrainOptions()))


def test_a_run_that_goes_on_stretches_its_schedule(run: Run, dataset: Dataset) -> None:
    longer = RECIPE.resumed(run.learner, dataset, RunConfig(epochs=16, batch_size=32).resolved(1))
    assert isinstance(longer, VideosLearner)
    assert isinstance(run.learner, VideosLearner)
    assert longer.total_steps == 2 * run.learner.total_steps


def test_only_the_lstm_that_hears_learns_what_is_in_the_order_of_the_sound(tmp_path: Path) -> None:
    videos = made_ordered(600)
    dataset = video_dataset(tmp_path / "dataset", {"train": videos[:400], "test": videos[400:]})
    options = {"hears": SMALL, "deaf": replace(SMALL, audio=False), "mean": TrainOptions(model="logistic")}
    hit = {name: trained(dataset, tmp_path / name, one, epochs=6).metrics["hit@1"] for name, one in options.items()}
    assert hit["hears"] >= 0.95
    # Three standard deviations of 200 tosses.
    assert all(0.39 <= hit[name] <= 0.61 for name in ("deaf", "mean"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "strategy", [AllReduce(), Averaging(4), DiLoCo(4), ParameterServer(4)], ids=lambda one: type(one).__name__
)
def test_every_strategy_trains_on_frames(
    spark: SparkSession, dataset: Dataset, tmp_path: Path, strategy: Strategy
) -> None:
    finished = trained(dataset, tmp_path / "run", SMALL, workers=2, strategy=strategy, epochs=10)
    assert finished.metrics["gap@20"] > finished.results["baseline"]["gap@20"] + 0.2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "strategy", [AllReduce(), Averaging(2), DiLoCo(2), ParameterServer(2)], ids=lambda one: type(one).__name__
)
def test_every_strategy_trains_on_the_published_frames(
    spark: SparkSession, shared_data: Path, tmp_path: Path, strategy: Strategy
) -> None:
    source = str(shared_data / "youtube8m" / "frame_level_DERIVED")
    dataset = RECIPE.prepare(spark, source, str(tmp_path / "dataset"), PrepareOptions(), fitting=None, overwrite=False)
    options, sizes = replace(SMALL, labels=20, dropout=0.0), {"epochs": 12, "batch_size": 16, "bucket_steps": 4}
    finished = trained(dataset, tmp_path / "run", options, workers=2, strategy=strategy, **sizes)
    assert finished.metrics["gap@20"] > finished.results["baseline"]["gap@20"] + 0.05


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["logistic", "mlp", "moe"])
def test_the_published_means_reach_what_is_promised(
    spark: SparkSession, shared_data: Path, tmp_path: Path, model: str
) -> None:
    source = str(shared_data / "youtube8m" / "video_level")
    dataset = RECIPE.prepare(
        spark, source, str(tmp_path / "dataset"), PrepareOptions(split="ids"), fitting=None, overwrite=False
    )
    finished = trained(dataset, tmp_path / "run", TrainOptions(model=model, labels=20), batch_size=128)
    assert finished.metrics["map"] >= 0.80
    assert finished.metrics["gap@20"] > finished.results["baseline"]["gap@20"] + 0.5


@pytest.mark.slow
def test_a_loaded_network_says_what_was_predicted(tmp_path: Path) -> None:
    videos = made_means(120, 5)
    dataset = video_dataset(tmp_path / "dataset", {"train": videos[:100], "test": videos[100:]})
    run = trained(dataset, tmp_path / "run", TrainOptions(model="moe"), epochs=2)
    predicted = run.predict(dataset, tmp_path / "out", split="test")
    (batch,) = span_batches(predicted, "test", None, 0, 20, 20)
    (raw,) = span_batches(dataset, "test", ["mean_rgb", "mean_audio"], 0, 20, 20)
    with torch.no_grad():
        confidences = run.model().eval()(raw["mean_rgb"], raw["mean_audio"]).sigmoid()
    assert torch.allclose(confidences.sort(descending=True).values, batch[CONFIDENCES], atol=1e-6)
