"""A parameter server whose workers are tasks of a real Spark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from counted import ROWS, TEST_ROWS, Counting
from servers import counts, order

import echelon
from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.sync.server import ParameterServer
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.slow
def test_a_killed_task_comes_again_and_a_run_goes_on_with_another_number_of_workers(
    spark: SparkSession, tmp_path: Path, numbered: Dataset
) -> None:
    run, learner = str(tmp_path / "run"), Counting(seconds=0.02)
    config = RunConfig(epochs=4, batch_size=20, max_steps=15, fault="kill:1@5")
    killed = echelon.fit(learner, numbered.url, config, strategy=ParameterServer(3), workers=2, run=run)
    assert killed.results["steps"] == 15
    assert killed.results["attempts"] == 1
    assert any("worker 1 came again" in event.get("text", "") for event in killed.events())
    longer = RunConfig(epochs=4, batch_size=20)
    again = echelon.fit(learner, numbered.url, longer, workers=1, run=run, resume=True)
    assert again.results["steps"] == 40
    assert again.metrics == {"rows": TEST_ROWS}
    job = order(tmp_path / "run", numbered, longer)
    assert counts(job).tolist() == [4] * ROWS


def test_an_error_of_the_learner_ends_all_workers_and_is_told(
    spark: SparkSession, tmp_path: Path, numbered: Dataset
) -> None:
    with pytest.raises(EchelonError, match=r"worker \d on .* failed: ArithmeticError: row 17"):
        echelon.fit(Counting(fail_at=17), numbered.url, RunConfig(), strategy=ParameterServer(), workers=2,
                    run=tmp_path / "run")  # fmt: skip
