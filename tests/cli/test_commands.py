"""The commands of a recipe, in the order in which a user meets them, on made images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import CLASSES, Echelon

from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches

SMALL = ("--size", "8x8")
FAST = ("--pad", "0", "--no-mirror", "--batch-size", "30", "--checkpoint-every", "1epoch")


@pytest.fixture
def dataset(echelon: Echelon, pictures: Path, tmp_path: Path) -> Path:
    done = echelon("images", "prepare", pictures, tmp_path / "dataset", *SMALL)
    assert done.code == 0, done.err
    assert "train 90 rows" in done.err
    return tmp_path / "dataset"


def test_from_raw_files_to_predictions(echelon: Echelon, pictures: Path, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    trained = echelon(
        *("images", "train", dataset, "--workers", 2, "--strategy", "averaging", "--sync-every", 2),
        *("--epochs", 4, "--run", run, *FAST),
    )
    assert trained.code == 0, trained.err
    results = json.loads((run / "results.json").read_text())
    assert (results["state"], results["steps"], results["workers"]) == ("finished", 12, 2)
    assert results["rows"] == 4 * 90
    for told in ("accuracy", "trivial baseline", "rows per second", "bytes sent", "reading", "synchronising"):
        assert told in trained.out
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 24, "the report shows sample predictions"

    for source in (dataset, pictures):
        evaluated = echelon("images", "evaluate", run, source, "--workers", 2)
        assert evaluated.code == 0, evaluated.err
        assert f"{results['metrics']['accuracy']:.4f}" in evaluated.out, f"evaluated on {source}"
        assert "31 rows" in evaluated.out

    predicted = echelon("images", "predict", run, dataset, tmp_path / "out", "--workers", 2)
    assert predicted.code == 0, predicted.err
    again = echelon("images", "predict", run, tmp_path / "nowhere", tmp_path / "out")
    assert again.code == 1
    assert "there is already a dataset" in again.err, "told before raw files are looked at"
    keys = _keys(tmp_path / "out", "test")
    assert sorted(keys) == sorted(_keys(dataset, "test"))
    assert len(set(keys)) == 31
    assert not list(run.glob("scratch/**/*.parquet")), "what was prepared for an evaluation is gone"

    listed = echelon("runs", tmp_path / "runs")
    assert listed.code == 0
    assert "finished" in listed.out
    (run / "report.html").unlink()
    assert echelon("report", run).code == 0
    assert (run / "report.html").exists()
    compared = echelon("compare", run, "--target", 0.2, "--out", tmp_path / "compare.html")
    assert compared.code == 0, compared.err
    assert (tmp_path / "compare.html").exists()


def test_one_worker_needs_no_spark_and_goes_on_for_more_epochs(
    echelon: Echelon, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echelon.spark.session.session", None)
    run = tmp_path / "run"
    first = echelon("images", "train", dataset, "--epochs", 2, "--run", run, *FAST)
    assert first.code == 0, first.err
    again = echelon("images", "train", dataset, "--epochs", 3, "--run", run, "--resume")
    assert again.code == 0, again.err
    results = json.loads((run / "results.json").read_text())
    assert (results["steps"], results["attempts"], results["workers"]) == (9, 2, 1)
    asked = json.loads((run / "config.json").read_text())
    assert asked["config"]["batch_size"] == 30, "what was not given again stays"
    assert asked["learner"]["fields"]["total_steps"] == 9, "the schedule covers the new end"
    assert asked["created_with"]["config"]["epochs"] == 2


def test_what_a_run_keeps_for_life_is_not_changed_by_resuming(echelon: Echelon, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert echelon("images", "train", dataset, "--epochs", 1, "--run", run, *FAST).code == 0
    for flags, told in (
        (("--lr", "0.5"), "(now 0.5)"),
        (("--strategy", "averaging"), "AllReduce (now Averaging)"),
        (("--batch-size", "31", "--epochs", "2"), "batch_size 30 (now 31)"),
        (("--seed", "7", "--epochs", "2"), "seed 0 (now 7)"),
    ):
        refused = echelon("images", "train", dataset, "--run", run, "--resume", *flags)
        assert refused.code == 1
        assert told in refused.err
    assert json.loads((run / "results.json").read_text())["state"] == "finished", "what is refused changes nothing"
    same = echelon("images", "train", dataset, "--run", run, "--resume", *FAST, "--strategy", "allreduce")
    assert same.code == 0, "flags that change nothing are no fault"
    refused = echelon("images", "train", dataset, "--run", run)
    assert refused.code == 1
    assert "there is a run at" in refused.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("images", "prepare", "nowhere", "out"), "no images were recognised"),
        (("images", "train", "nowhere"), "check the path"),
        (("images", "evaluate", "nowhere", "nowhere"), "there is no run"),
        (("report", "nowhere"), "there is no run"),
        (("paintings:recipe", "train"), "cannot be imported"),
    ],
)
def test_a_wrong_path_is_answered_with_what_is_right(
    echelon: Echelon, arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = echelon(*arguments)
    assert done.code == 1
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_wrong_option_is_answered_with_what_is_right(echelon: Echelon, dataset: Path) -> None:
    for flags, told in (
        (("--epoch", "3"), "--epochs"),
        (("--strategy", "gossip"), "averaging"),
        (("--model", "vgg"), "resnet"),
        (("--sync-every", "5"), "--strategy averaging"),
        (("--strategy", "averaging", "--sync-every", "0"), "at least one step"),
        (("--strategy", "averaging", "--overlap"), "--overlap is for --strategy diloco"),
        (("--resume",), "--run"),
        (("--conf", "spark.x"), "name=value"),
        (("--workers", "200"), "at most"),
        (("--eval-every", "sometimes"), "1epoch"),
    ):
        done = echelon("images", "train", dataset, *flags)
        assert done.code in (1, 2)
        assert told in done.err, flags
        assert "Traceback" not in done.err


def test_a_batch_that_was_given_per_worker_is_resumed_with_the_same_command(
    echelon: Echelon, dataset: Path, tmp_path: Path
) -> None:
    command = ("images", "train", dataset, "--run", tmp_path / "run", "--batch-size-per-worker", 30, "--resume")
    begun = echelon(*command, "--epochs", 1)
    assert begun.code == 0, begun.err
    assert "a new one begins" in begun.err
    assert echelon(*command, "--epochs", 2).code == 0
    other = echelon(*command, "--epochs", 2, "--workers", 2)
    assert other.code == 1
    assert "60 rows" in other.err
    assert "batches of 30" in other.err


def test_helps_name_every_command(echelon: Echelon) -> None:
    assert all(word in echelon("--help").out for word in ("images", "runs", "report", "compare", "demo"))
    helped = echelon("images", "train", "--help").out
    for flag in ("--workers", "--master", "--conf", "--batch-size-per-worker", "--cpus-per-worker", "--eval-every",
                 "--checkpoint-every", "--seed", "--resume", "--profile", "--lr", "--momentum", "--width"):  # fmt: skip
        assert flag in helped


def _keys(dataset: Path, split: str) -> list[str]:
    opened = open_dataset(str(dataset))
    return [
        key
        for batch in span_batches(opened, split, ("key",), 0, opened.rows(split), 1000)
        for key in batch.strings("key")
    ]


def test_classes_are_those_of_the_folders(dataset: Path) -> None:
    assert open_dataset(str(dataset)).info["classes"] == CLASSES
