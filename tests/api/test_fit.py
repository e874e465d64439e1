"""`fit` and `Run` in this process, where no Spark is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from line import LineLearner

import echelon
from echelon.errors import EchelonError
from echelon.sync.averaging import Averaging
from echelon.train.checkpoint import committed
from echelon.train.run import RunFolder

CONFIG = echelon.RunConfig(epochs=2, batch_size=20, checkpoint_every="5steps")


def points(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    return {"x": x, "y": x @ np.array([1, 2, 3], np.float32)}


def parquet(path: Path, rows: int, seed: int = 0) -> Path:
    made = points(rows, seed)
    table = pa.table({"x": pa.array(made["x"].tolist(), pa.list_(pa.float32())), "y": made["y"]})
    pq.write_table(table, path, row_group_size=50)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> echelon.Dataset:
    schema = echelon.Schema((echelon.Column("x", "float32", (3,)), echelon.Column("y", "float32")))
    return echelon.write_dataset(str(tmp_path / "dataset"), schema, {"train": [points(200)], "test": [points(30, 1)]})


def test_fit_evaluate_predict_and_load(dataset: echelon.Dataset, tmp_path: Path) -> None:
    told: list[str] = []
    run = echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run", on_event=lambda e: told.append(e["kind"]))
    assert run.results["state"] == "finished"
    assert (run.results["steps"], run.results["rows"]) == (20, 400)
    assert set(told) >= {"start", "train", "evaluate", "checkpoint", "stop"}
    assert {event["kind"] for event in run.events()} == set(told)
    evaluated = run.evaluate(dataset)
    assert (evaluated.split, evaluated.rows) == ("test", 30)
    assert evaluated.metrics == pytest.approx(run.metrics)
    predicted = run.predict(dataset, tmp_path / "out")
    assert [predicted.rows(split) for split in ("train", "test")] == [200, 30]
    loaded = echelon.load(tmp_path / "run")
    assert not loaded.training
    x = torch.tensor(points(5, 2)["x"])
    assert torch.equal(loaded(x), run.model()(x))


def test_parquet_is_trained_on_where_it_is_and_resumed_on_nothing_else(tmp_path: Path) -> None:
    source, other = parquet(tmp_path / "a.parquet", 200), parquet(tmp_path / "b.parquet", 100, seed=5)
    run = echelon.fit(LineLearner(), source, CONFIG, run=tmp_path / "run")
    assert run.results["rows"] == 400
    longer = echelon.RunConfig(epochs=3, batch_size=20)
    with pytest.raises(EchelonError, match="dataset"):
        echelon.fit(LineLearner(), other, longer, run=tmp_path / "run", resume=True)
    assert echelon.fit(LineLearner(), source, longer, run=tmp_path / "run", resume=True).results["rows"] == 600


def test_what_was_interrupted_before_the_run_began_is_no_obstacle(tmp_path: Path) -> None:
    source = parquet(tmp_path / "a.parquet", 60)
    echelon.fit(LineLearner(), source, CONFIG, run=tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    assert echelon.fit(LineLearner(), source, CONFIG, run=tmp_path / "run").results["state"] == "finished"


def test_a_dataset_that_cannot_be_trained_on_leaves_no_run(dataset: echelon.Dataset, tmp_path: Path) -> None:
    schema = echelon.Schema((echelon.Column("x", "float32", (3,)), echelon.Column("y", "float32")))
    other = echelon.write_dataset(str(tmp_path / "other"), schema, {"test": [points(30)], "val": [points(10)]})
    with pytest.raises(EchelonError, match="has no rows to train on: it needs a split 'train', and has test, val"):
        echelon.fit(LineLearner(), other, CONFIG, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run").results["state"] == "finished"


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0], [-1.0], [float("nan")], []])
def test_weights_that_do_not_fit_the_workers_are_refused(
    dataset: echelon.Dataset, tmp_path: Path, weights: list[float]
) -> None:
    with pytest.raises(EchelonError, match="each of 1 workers"):
        echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run", weights=weights)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_learner_but_for_what_may_change(dataset: echelon.Dataset, tmp_path: Path) -> None:
    echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run")
    longer = echelon.RunConfig(epochs=3, batch_size=20)
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(EchelonError, match=r"lr 0\.05 \(now 0\.0\)"):
        echelon.fit(LineLearner(lr=0.0), dataset, longer, run=tmp_path / "run", resume=True)
    with pytest.raises(EchelonError, match="Averaging"):
        echelon.fit(LineLearner(), dataset, longer, strategy=Averaging(5), run=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    run = echelon.fit(LineLearner(horizon=9), dataset, longer, run=tmp_path / "run", resume=True)
    assert run.results["steps"] == 30


def test_a_damaged_newest_checkpoint_is_passed_over(dataset: echelon.Dataset, tmp_path: Path) -> None:
    run = echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run")
    older, newest = committed(RunFolder(run.url))[-2:]
    for name in ("state.json", "model.safetensors"):
        path = tmp_path / "run" / "checkpoints" / f"{newest.attempt}-{newest.step}" / name
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    assert torch.equal(echelon.load(run.url).weight, older.model()["weight"])
    resumed = echelon.fit(LineLearner(), dataset, echelon.RunConfig(epochs=3, batch_size=20), run=run.url, resume=True)
    assert resumed.results["steps"] == 30
    (start,) = [event for event in resumed.events() if event["kind"] == "start" and event["attempt"] == 2]
    assert start["step"] == older.step
    assert "older checkpoint" in start["remark"]


def test_an_event_handler_that_fails_ends_nothing(dataset: echelon.Dataset, tmp_path: Path) -> None:
    def closed_terminal(event: dict[str, object]) -> None:
        raise BrokenPipeError("nobody reads")

    run = echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run", on_event=closed_terminal)
    assert run.results["state"] == "finished"


def test_a_failure_is_written_down_with_its_cause(dataset: echelon.Dataset, tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="loss is"):
        echelon.fit(LineLearner(lr=1e18), dataset, CONFIG, run=tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["state"] == "failed"
    assert "loss is" in results["error"]


class NoModel(LineLearner):
    def model(self) -> torch.nn.Module:
        raise EchelonError("there is no compiler")


def test_a_run_that_failed_before_its_first_step_does_not_stand_in_the_way(
    dataset: echelon.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(EchelonError, match="there is no compiler"):
        echelon.fit(NoModel(), dataset, CONFIG, run=folder)
    assert json.loads((folder / "results.json").read_text())["state"] == "failed"
    (folder / "notes.txt").write_text("mine")
    run = echelon.fit(LineLearner(), dataset, CONFIG, run=folder)
    assert "failed before its first step and is replaced: there is no compiler" in caplog.text
    assert run.asked["learner"]["type"] == "line:LineLearner"
    # What numbers the starts goes on, so that a process of the failed one is known to be old.
    assert {event["attempt"] for event in run.events()} == {2}
    assert (folder / "notes.txt").read_text() == "mine"
    stored = (folder / "config.json").read_bytes()
    with pytest.raises(EchelonError, match=r"there is a run at .* already"):
        echelon.fit(LineLearner(), dataset, CONFIG, run=folder)
    assert (folder / "config.json").read_bytes() == stored


def test_a_run_that_failed_after_a_step_is_not_replaced(dataset: echelon.Dataset, tmp_path: Path) -> None:
    class Tired(LineLearner):
        def rate(self, step: int) -> float:
            if step == 12:
                raise EchelonError("enough")
            return 1.0

    with pytest.raises(EchelonError, match="enough"):
        echelon.fit(Tired(), dataset, CONFIG, run=tmp_path / "run")
    with pytest.raises(EchelonError, match=r"there is a run at .* already"):
        echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run")


def test_the_threads_of_the_callers_process_stay(dataset: echelon.Dataset, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run = echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run")
    run.evaluate(dataset)
    assert torch.get_num_threads() == before


def test_a_run_without_a_name_gets_a_folder_of_its_own(
    dataset: echelon.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {echelon.fit(LineLearner(), dataset, CONFIG).url for _ in range(2)}
    assert len(runs) == 2
    assert all(Path(url).parent == tmp_path / "runs" for url in runs)


def test_sigterm_leaves_a_run_that_says_that_it_failed(dataset: echelon.Dataset, tmp_path: Path) -> None:
    script = (
        "import sys, signal; from echelon.cli import app; import echelon; from line import LineLearner\n"
        "signal.signal(signal.SIGTERM, app._terminate)\n"
        "echelon.fit(LineLearner(), sys.argv[1], echelon.RunConfig(epochs=10**6, batch_size=20), run=sys.argv[2])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    arguments = [sys.executable, "-c", script, dataset.url, str(tmp_path / "run")]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "run").glob("events/*.jsonl")):
            assert time.monotonic() < deadline, "the training did not begin within 60 s"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) != 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["state"], results["error"]) == ("failed", "terminated by SIGTERM")


def test_under_torchrun_the_other_ranks_write_no_predictions(
    dataset: echelon.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = echelon.fit(LineLearner(), dataset, CONFIG, run=tmp_path / "run")
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EchelonError, match="rank 0 alone"):
        run.predict(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
