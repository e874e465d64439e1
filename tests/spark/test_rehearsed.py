"""A failure on purpose under Spark: the workers come back, and go on with the lanes that they were dealt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spark_learners import Line, write_line

from echelon.spark.training import train_on_spark
from echelon.sync.allreduce import AllReduce
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder
from echelon.train.worker import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def trained(spark: SparkSession, folder: Path, **config: Any) -> tuple[RunFolder, dict[str, torch.Tensor], int]:
    """The run, its weights, and the number of the attempt that came to the end."""
    dataset = write_line(str(folder / "data"))
    asked = RunConfig(batch_size=32, epochs=5, eval_every="off", checkpoint_every="5steps", **config).resolved(2)
    job = Job(str(folder / "run"), dataset.url, Line(), AllReduce(), asked)
    attempt = train_on_spark(spark, job, 2, lambda event: None).attempt
    run = RunFolder(job.run)
    checkpoint = newest(run)
    assert checkpoint is not None
    return run, checkpoint.model(), attempt


@pytest.mark.slow
def test_a_rehearsed_kill_recovers_with_the_shares_that_were_dealt(spark: SparkSession, tmp_path: Path) -> None:
    _, calm, _ = trained(spark, tmp_path / "calm")
    run, weights, attempt = trained(spark, tmp_path / "killed", balance="once", fault="kill:1@50,slow:1x8")
    assert attempt == 2
    events = run.events()
    (recovery,) = [event for event in events if event["kind"] == "recovery"]
    assert "rank 1 on" in recovery["cause"]
    starts = [event["remark"] for event in events if event["kind"] == "start"]
    assert ["kill:1@50" in remark for remark in starts] == [True, False]
    assert all("slow:1x8" in remark for remark in starts)
    (balance,) = [event for event in events if event["kind"] == "balance"]
    assert balance["attempt"] == 1, "it is stored with the checkpoint, and so once is once"
    assert balance["next_lanes"][1] < 16
    for name, value in calm.items():
        torch.testing.assert_close(weights[name], value)
