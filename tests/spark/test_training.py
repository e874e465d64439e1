"""Training by the tasks of a barrier stage, and its recovery from killed processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spark_learners import Faulty, Line, Mortal, Wide, write_line

from echelon.errors import TrainingFailed
from echelon.spark.failure import WorkerFailed
from echelon.spark.training import train_on_spark
from echelon.sync.allreduce import AllReduce
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
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
    progress, attempt = train_on_spark(spark, work, 2, events.append)
    assert (progress.step, attempt) == (60, 1)
    assert progress.rows == 5 * 384
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
    progress, attempt = train_on_spark(spark, work, 2, on_event)
    assert (progress.step, attempt) == (60, 2)
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

    progress, _ = train_on_spark(spark, job(tmp_path, Line(), epochs=1), 2, refuse)
    assert progress.step == 12


@pytest.mark.slow
def test_a_model_of_300_mb_trains_under_sparks_default_driver_settings(spark: SparkSession, tmp_path: Path) -> None:
    assert spark.conf.get("spark.driver.memory", None) is None
    assert spark.conf.get("spark.driver.maxResultSize", None) is None
    work = job(tmp_path, Wide(lr=0.01), max_steps=3)
    progress, attempt = train_on_spark(spark, work, 2, lambda event: None)
    assert (progress.step, attempt) == (3, 1)
    assert sum(tensor.nbytes for tensor in weights(work).values()) >= 300_000_000
