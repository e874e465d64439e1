"""What a real training writes is read: one that fails, resumes from a checkpoint and comes to its end."""

from __future__ import annotations

import io

import numpy as np
import pytest
from linear import LinearLearner
from pages import checked
from rich.console import Console

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.launch.local import train_here
from echelon.report.page import run_page
from echelon.report.progress import LiveProgress
from echelon.report.recorded import read_run
from echelon.report.summary import headline
from echelon.sync.allreduce import AllReduce
from echelon.train.config import RunConfig
from echelon.train.progress import Progress
from echelon.train.results import FINISHED, results_of
from echelon.train.run import RunFolder
from echelon.train.worker import Job

EPOCHS, STEPS_PER_EPOCH = 4, 30


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Progress, str]:
    """The run, what training returned, and what was shown meanwhile."""
    root, random, shown = tmp_path_factory.mktemp("real"), np.random.default_rng(0), io.StringIO()
    x = random.normal(size=(700, 4)).astype(np.float32)
    rows = {"x": x, "y": (x.sum(1) > 0).astype(np.int64)}
    splits = {split: [{name: v[part] for name, v in rows.items()}] for split, part in _PARTS.items()}
    schema = Schema((Column("x", "float32", (4,)), Column("y", "int64")))
    dataset = write_dataset(str(root / "dataset"), schema, splits)
    config = RunConfig(EPOCHS, 20, eval_every="10steps", checkpoint_every="20steps", log_every="5steps").resolved(1)
    folder = RunFolder(str(root / "run"))
    folder.create(LinearLearner(), AllReduce(), config, dataset, 1)
    with LiveProgress(Console(file=shown, width=200)) as progress:
        with pytest.raises(RuntimeError, match="the power is gone"):
            train_here(_job(folder, dataset.url, config, LinearLearner(78)), folder.start_attempt(), progress)
        recovery = {"kind": "recovery", "step": 60, "epoch": None, "seconds": 0.1, "attempt": 1, "cause": "no power"}
        folder.add_event(recovery)
        progress(recovery)
        done = train_here(_job(folder, dataset.url, config, LinearLearner()), folder.start_attempt(), progress)
    folder.write_results(results_of(FINISHED, done, steps_per_epoch=STEPS_PER_EPOCH, workers=1, attempts=2))
    return folder, done, shown.getvalue()


_PARTS = {"train": slice(0, 600), "test": slice(600, 700)}


def _job(folder: RunFolder, dataset: str, config: RunConfig, learner: LinearLearner) -> Job:
    return Job(folder.url, dataset, learner, AllReduce(), config)


def test_the_history_is_that_of_the_progress(trained: tuple[RunFolder, Progress, str]) -> None:
    folder, done, _ = trained
    history = read_run(folder.url).history
    assert history.steps == history.last_step == done.step == EPOCHS * STEPS_PER_EPOCH
    assert history.loss.against("steps") == [*range(5, 121, 5)]
    assert history.metric("accuracy").against("steps") == [*range(10, 121, 10)]
    assert history.metric("accuracy").last == done.metrics["accuracy"] > 0.9
    assert (history.rows, history.bytes_sent) == (done.rows, done.bytes_sent)
    assert history.times.computing == pytest.approx(done.computing)
    assert history.seconds == pytest.approx(done.seconds, abs=1.0)
    for curve in (history.loss, history.metric("accuracy")):
        assert curve.against("seconds") == sorted(curve.against("seconds")), "time does not go back"


def test_the_recovery_is_where_the_training_resumed(trained: tuple[RunFolder, Progress, str]) -> None:
    (recovery,) = read_run(trained[0].url).history.recoveries
    assert (recovery.attempt, recovery.cause) == (2, "no power")
    assert recovery.steps in (0, 20, 40, 60), "as far as its checkpoints had been written by then"
    assert recovery.redone == 75 - recovery.steps, "the newest event before the failure is that of step 75"


def test_the_page_and_the_lines_tell_it(trained: tuple[RunFolder, Progress, str]) -> None:
    folder, done, shown = trained
    run = read_run(folder.url)
    main = headline(run)
    assert main is not None
    assert (main.metric, main.value, main.baseline, main.better) == ("accuracy", done.metrics["accuracy"], 0.5, True)
    page = checked(run_page(run))
    assert "no power" in page
    assert f"did {EPOCHS} epochs" in page
    assert len(shown.splitlines()) == len(folder.events())
    assert "attempt 1 failed: no power" in shown
    assert f"did {EPOCHS} epochs: 120 steps" in shown.splitlines()[-1]
