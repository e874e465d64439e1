"""Training by the tasks of a barrier stage, and its recovery from killed processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spark_learners import Faulty, Line, Mortal, Wide, write_line

from echelon.errors import CommunicationError, TrainingFailed
from echelon.spark import recover, training
from echelon.spark.failure import WorkerFailed
from echelon.spark.slots import TooFewSlots
from echelon.spark.training import train_on_spark
from echelon.sync.allreduce import AllReduce
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.progress import Progress
from echelon.train.run import RunFolder
from echelon.train.worker import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def job(folder: Path, learner: Learner, **config: Any) -> Job:
    dataset = write_line(str(folder / "data"))
    asked = RunConfig(**{"batch_size": 32, "epochs": 5, "eval_every": "off", **config}).resolved(2)
    return Job(str(folder / "run"), dataset.url, learner, AllReduce(), asked)


def weights(work: Job) -> dict[str, torch.Tensor]:
    checkpoint = newest(RunFolder(work.run))
    assert checkpoint is not None
    return checkpoint.model()


def test_two_workers_learn_the_line(spark: SparkSession, tmp_path: Path) -> None:
    work, events = job(tmp_path, Line()), []
    trained = train_on_spark(spark, work, 2, events.append)
    assert (trained.progress.step, trained.attempt, trained.workers) == (60, 1, 2)
    assert trained.progress.rows == 5 * 384
    assert torch.allclose(weights(work)["weight"], torch.tensor([[1, -2, 3, 0.5]]), atol=0.01)
    assert {"start", "checkpoint"} <= {event["kind"] for event in events}


def test_a_killed_worker_trains_again_within_ten_seconds_from_the_checkpoint(
    spark: SparkSession, tmp_path: Path
) -> None:
    grave = tmp_path / "grave"
    calm = job(tmp_path / "calm", Line(), checkpoint_every="10steps")
    train_on_spark(spark, calm, 2, lambda event: None)
    again: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        # The start is told when the checkpoint is loaded and the first step begins.
        if event["attempt"] == 2 and event["kind"] == "start":
            again.append(time.time())

    work = job(tmp_path, Mortal(grave=str(grave)), checkpoint_every="10steps")
    trained = train_on_spark(spark, work, 2, on_event)
    assert (trained.progress.step, trained.attempt) == (60, 2)
    assert again[0] - grave.stat().st_mtime < 10
    events = RunFolder(work.run).events()
    resumed = next(event for event in events if event["kind"] == "start" and event["attempt"] == 2)
    assert 10 <= resumed["step"] <= 30
    assert resumed["step"] % 10 == 0
    recovery = next(event for event in events if event["kind"] == "recovery")
    assert recovery["attempt"] == 1
    assert "rank" in recovery["cause"]
    for name, value in weights(calm).items():
        assert torch.equal(value, weights(work)[name])


def test_the_users_exception_ends_the_run_at_once(spark: SparkSession, tmp_path: Path) -> None:
    work = job(tmp_path, Faulty())
    with pytest.raises(WorkerFailed, match="ZeroDivisionError: the user's own mistake"):
        train_on_spark(spark, work, 2, lambda event: None)
    assert RunFolder(work.run).newest_attempt() == 1


@pytest.mark.slow
def test_three_deaths_without_a_checkpoint_are_enough(spark: SparkSession, tmp_path: Path) -> None:
    class Doomed(Mortal):
        def _dies(self) -> bool:
            return True

    work = job(tmp_path, Doomed(at=3))
    with pytest.raises(TrainingFailed, match=r"3 attempts in a row without a new checkpoint.*rank"):
        train_on_spark(spark, work, 2, lambda event: None)
    assert RunFolder(work.run).newest_attempt() == 3


def test_progress_that_cannot_be_shown_does_not_stop_a_training(spark: SparkSession, tmp_path: Path) -> None:
    def refuse(event: dict[str, Any]) -> None:
        raise OSError("the terminal is gone")

    trained = train_on_spark(spark, job(tmp_path, Line(), epochs=1), 2, refuse)
    assert trained.progress.step == 12


@pytest.mark.slow
def test_a_model_of_300_mb_trains_under_sparks_default_driver_settings(spark: SparkSession, tmp_path: Path) -> None:
    assert spark.conf.get("spark.driver.memory", None) is None
    assert spark.conf.get("spark.driver.maxResultSize", None) is None
    work = job(tmp_path, Wide(lr=0.01), max_steps=3)
    trained = train_on_spark(spark, work, 2, lambda event: None)
    assert (trained.progress.step, trained.attempt) == (3, 1)
    assert sum(tensor.nbytes for tensor in weights(work).values()) >= 300_000_000


class Script:
    """What becomes of each launch, in order; it notes with how many workers it was asked for one."""

    def __init__(self, *outcomes: Exception | Progress) -> None:
        self._outcomes = iter(outcomes)
        self.workers: list[int] = []

    def __call__(self, session: object, job: Job, workers: int, *_: object) -> Progress:
        self.workers.append(workers)
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def scripted(monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | Progress) -> Script:
    script = Script(*outcomes)
    monkeypatch.setattr(training, "_launch", script)
    monkeypatch.setattr(recover, "FIRST_PAUSE_SECONDS", 0.0)
    return script


def test_hosts_that_are_lost_one_after_another_are_gone_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    work, shown = job(tmp_path, Line()), []
    script = scripted(
        monkeypatch, CommunicationError("cut off"), TooFewSlots("three", 3), TooFewSlots("two", 2), Progress(step=7)
    )
    trained = train_on_spark(spark, work, 4, shown.append)
    assert (trained.progress.step, trained.attempt, trained.workers) == (7, 2, 2)
    assert script.workers == [4, 4, 3, 2]
    (written,) = RunFolder(work.run).events()
    assert written == shown[-1]
    assert (written["kind"], written["attempt"]) == ("recovery", 1)
    assert written["cause"] == "cut off; going on with 3 of 4 workers; going on with 2 of 3 workers"


def test_without_any_host_left_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    scripted(monkeypatch, CommunicationError("cut off"), TooFewSlots("none", 0), Progress())
    trained = train_on_spark(spark, job(tmp_path, Line()), 2, lambda event: None)
    assert (trained.attempt, trained.workers) == (3, 2)


def test_a_recovery_that_cannot_be_written_down_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    work, shown = job(tmp_path, Line()), []
    (tmp_path / "run" / "events" / "1-99999.jsonl" / "in the way").mkdir(parents=True)
    scripted(monkeypatch, CommunicationError("cut off"), Progress())
    assert train_on_spark(spark, work, 2, shown.append).attempt == 2
    assert [event["cause"] for event in shown] == ["cut off"]
