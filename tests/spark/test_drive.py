"""What the driver does with a run before and after its workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spark_learners import Line, write_line

from echelon.driver import Place, drive
from echelon.spark.slots import TooFewSlots
from echelon.sync.allreduce import AllReduce
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder
from echelon.train.worker import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_run_that_cannot_begin_leaves_its_folder_to_the_next(spark: SparkSession, tmp_path: Path) -> None:
    dataset, run = write_line(str(tmp_path / "data")), RunFolder(str(tmp_path / "run"))

    def order(workers: int) -> None:
        config = RunConfig(batch_size=32, epochs=1, eval_every="off").resolved(workers)
        job = Job(run.url, dataset.url, Line(), AllReduce(), config)

        def begin() -> None:
            run.create(job.learner, job.strategy, config, dataset, workers)

        drive(job, Place(workers), begin, lambda event: None)

    with pytest.raises(TooFewSlots, match="use at most 2 workers"):
        order(3)
    assert not run.exists()
    order(2)
    assert (run.results["state"], run.results["workers"]) == ("finished", 2)
