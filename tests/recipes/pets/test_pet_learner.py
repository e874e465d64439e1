"""Two ways to the same classifier: solved in memory, and trained in steps by the common loop."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from made_features import dataset_of, made_features
from sklearn.svm import LinearSVC

from echelon.api import Run, fit
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets import RECIPE
from echelon.recipes.pets.held import in_memory
from echelon.recipes.pets.learner import InMemorySvmLearner, SvmLearner
from echelon.recipes.pets.settings import TrainOptions, learner_for
from echelon.report.page import run_page
from echelon.report.recorded import read_run
from echelon.report.summary import short_strategy_label, strategy_label
from echelon.sync.averaging import Averaging
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BREEDS, FEATURES = 4, 40
SOLVED, STEPS = TrainOptions(test_fraction=0.25), TrainOptions(test_fraction=0.25, solver="steps")
LONG = RunConfig(epochs=120, batch_size=75, eval_every="40epoch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    features, labels = made_features(400, BREEDS, FEATURES, noise=2.0)
    return dataset_of(tmp_path_factory.mktemp("pets") / "dataset", features, labels, BREEDS)


def trained(dataset: Dataset, folder: Path, options: TrainOptions, config: RunConfig = LONG, **how: object) -> Run:
    resolved = config.resolved(1)
    learner = learner_for(dataset, options, resolved)
    return fit(learner, RECIPE.data(dataset, options), resolved, run=folder, recipe="pets", **how)


def scores(run: Run, split: str = "test") -> np.ndarray:
    its = open_dataset(run.asked["dataset"]["url"])
    features, _ = in_memory(its, split, 100, otherwise="")
    with torch.inference_mode():
        return run.model()(torch.from_numpy(features)).numpy()


@pytest.fixture(scope="module")
def solved(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(dataset, tmp_path_factory.mktemp("runs") / "solved", SOLVED)


def test_what_is_solved_is_what_scikit_learn_finds_and_a_run_like_any_other(solved: Run) -> None:
    its = open_dataset(solved.asked["dataset"]["url"])
    features, labels = in_memory(its, "train", 100, otherwise="")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    theirs = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000).fit(unit, labels)
    test, true = in_memory(its, "test", 100, otherwise="")
    test /= np.linalg.norm(test, axis=1, keepdims=True)
    ours = scores(solved)
    assert np.abs(ours - theirs.decision_function(test)).max() < 0.05
    assert (ours.argmax(1) == theirs.predict(test)).mean() >= 0.99
    assert solved.metrics["accuracy"] == pytest.approx((ours.argmax(1) == true).mean())
    assert solved.metrics["accuracy"] > 0.5
    results = solved.results
    assert results["state"] == "finished"
    assert results["stopped_by"].startswith("solved to")
    assert results["baseline"]["accuracy"] == 0.25
    losses = [event["loss"] for event in solved.events() if event["kind"] == "train"]
    assert len(losses) == results["steps"] > 1
    assert losses == sorted(losses, reverse=True)


def test_a_report_of_a_solved_run_names_no_strategy(solved: Run) -> None:
    config = solved.asked
    assert strategy_label(config) == short_strategy_label(config) == "solved in memory"
    page = run_page(read_run(solved.url))
    assert "solved in memory" in page
    assert "AllReduce" not in page


def test_a_solved_run_that_is_resumed_stays_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    first = trained(dataset, tmp_path / "run", SOLVED)
    before, told = scores(first), first.results
    again = trained(dataset, tmp_path / "run", SOLVED, resume=True)
    assert (scores(again) == before).all()
    assert again.metrics == told["metrics"]
    assert again.results["stopped_by"] == "it was solved before"


def test_one_process_is_enough_and_too_many_rows_are_refused_before_they_are_read(
    dataset: Dataset, tmp_path: Path
) -> None:
    learner = learner_for(dataset, SOLVED, LONG.resolved(2))
    with pytest.raises(EchelonError, match="2 workers are of no use"):
        fit(learner, RECIPE.data(dataset, SOLVED), LONG, workers=2, run=tmp_path / "two")
    with pytest.raises(EchelonError, match="nothing to agree on by Averaging"):
        fit(learner, RECIPE.data(dataset, SOLVED), LONG, strategy=Averaging(5), run=tmp_path / "two")
    assert not (tmp_path / "two" / "config.json").exists()
    wide = dataset_of(tmp_path / "wide", *made_features(40, BREEDS, 10_000), BREEDS)
    divided = SOLVED.divided(wide).write(str(tmp_path / "divided"))
    shutil.rmtree(tmp_path / "divided" / "split=train")
    large = learner_for(wide, SOLVED, RunConfig(memory_mb=1).resolved(1))
    assert isinstance(large, InMemorySvmLearner)
    with pytest.raises(EchelonError, match=r"28 rows of 10,000 features need 11 MB.*--solver steps"):
        large.solve(large.model(), divided, RunConfig(memory_mb=1), lambda step, loss: None)


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    features, labels = made_features(40, BREEDS, FEATURES)
    features[7, 3], features[9, 0] = np.nan, np.inf
    strange = dataset_of(tmp_path / "strange", features, labels, BREEDS)
    with pytest.raises(DataError, match="2 of 40 images"):
        trained(strange, tmp_path / "run", replace(SOLVED, test_fraction=0.0))


def penalised(run: Run) -> float:
    """The objective that both minimise, as a mean over the rows."""
    its, learner = open_dataset(run.asked["dataset"]["url"]), run.learner
    assert isinstance(learner, SvmLearner)
    rows = its.rows("train")
    (batch,) = span_batches(its, "train", learner.columns, 0, rows, rows)
    model = run.model().train()
    with torch.no_grad():
        total, weight = learner.loss(model, batch)
    return float(total) / float(weight)


@pytest.mark.parametrize("strategy", [None, Averaging(sync_every=5)], ids=["allreduce", "averaging"])
def test_steps_come_to_the_same_classifier(strategy, dataset: Dataset, solved: Run, tmp_path: Path) -> None:
    stepped = trained(dataset, tmp_path / "run", STEPS, strategy=strategy)
    assert penalised(solved) <= penalised(stepped) * 1.01
    assert penalised(stepped) <= penalised(solved) * 1.03
    assert (scores(stepped).argmax(1) == scores(solved).argmax(1)).mean() >= 0.97
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert stepped.metrics[name] == pytest.approx(solved.metrics[name], abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [None, Averaging(sync_every=5)], ids=["allreduce", "averaging"])
def test_two_workers_come_to_the_same_classifier(
    strategy, spark: SparkSession, dataset: Dataset, solved: Run, tmp_path: Path
) -> None:
    stepped = trained(dataset, tmp_path / "run", STEPS, strategy=strategy, workers=2)
    assert stepped.results["workers"] == 2
    assert penalised(stepped) <= penalised(solved) * 1.03
    assert (scores(stepped).argmax(1) == scores(solved).argmax(1)).mean() >= 0.97


def test_one_breed_against_another_and_against_all(dataset: Dataset, tmp_path: Path) -> None:
    pair = trained(dataset, tmp_path / "pair", replace(SOLVED, breed="Breed_01", against="Breed_03"))
    assert pair.asked["dataset"]["rows"] == {"train": 150, "test": 50}
    assert pair.results["baseline"] == {"accuracy": 0.5, "balanced_accuracy": 0.5, "f1": 0.0, "auc": 0.5}
    assert pair.metrics["accuracy"] > 0.75
    rest = trained(dataset, tmp_path / "rest", replace(SOLVED, breed="Breed_01"))
    assert rest.results["baseline"]["accuracy"] == 0.75
    assert set(rest.metrics) == {"accuracy", "balanced_accuracy", "f1", "auc", "loss"}
    assert (scores(rest)[:, 0] > 0).mean() == pytest.approx(0.25, abs=0.12)


def test_a_run_is_not_evaluated_on_what_it_was_trained_on_nor_on_strange_breeds(
    dataset: Dataset, solved: Run, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds images of the training, 300 of 400"):
        solved.evaluate(dataset)
    pair = trained(dataset, tmp_path / "pair", replace(SOLVED, breed="Breed_01", against="Breed_03"))
    features, labels = made_features(60, BREEDS, FEATURES, seed=9)
    others = dataset_of(tmp_path / "others", features, labels, BREEDS)
    with pytest.raises(DataError, match="30 of 60 images"):
        pair.evaluate(others)
    assert solved.evaluate(others).rows == 60
    fewer = dataset_of(tmp_path / "fewer", features[labels < 3], labels[labels < 3], 3)
    with pytest.raises(DataError, match="the model was trained on Breed_00, Breed_01, Breed_02, Breed_03"):
        solved.predict(fewer, tmp_path / "out")


def test_features_that_were_made_otherwise_are_refused(dataset: Dataset) -> None:
    learner = learner_for(dataset, SOLVED, LONG.resolved(1))
    made = replace(learner, extractor={"model": "vgg16", "folder": "d", "path": "w", "digest": "1", "mirrored": True})

    def other(**said: object) -> Dataset:
        return replace(dataset, manifest=replace(dataset.manifest, info={**dataset.info, **said}))

    made.check(other(weights="1", mirrored=True))
    made.check(dataset)
    for wrong in (other(weights="2", mirrored=True), other(weights="1", mirrored=False), other(weights="1")):
        with pytest.raises(DataError, match="--model, --weights and --mirror"):
            made.check(wrong)


def test_images_of_the_training_are_known_again_when_they_are_prepared_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 30: `evaluate RUN photographs` makes a new dataset of files that the run was trained on."""
    features, labels = made_features(80, BREEDS, FEATURES)
    place = str(tmp_path / "photographs")
    source = dataset_of(tmp_path / "first", features, labels, BREEDS, place)
    run = trained(source, tmp_path / "run", SOLVED)
    again = dataset_of(tmp_path / "again", features + 1e-4, labels, BREEDS, place)
    with pytest.raises(DataError, match="holds images of the training, 60 of 80"):
        run.evaluate(again)
    tested = open_dataset(run.asked["dataset"]["url"])
    assert run.evaluate(tested, split="test").rows == 20
    elsewhere = dataset_of(tmp_path / "elsewhere", features, labels, BREEDS, str(tmp_path / "others"))
    assert run.evaluate(elsewhere).rows == 80
    shutil.rmtree(tmp_path / "first")
    with caplog.at_level(logging.WARNING):
        run.evaluate(again)
    assert "trained on these images cannot be known" in caplog.text
