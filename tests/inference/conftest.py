"""A run of a small learner, and a Spark inside the test's process that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scores import Scores, write_points

from echelon.api import Run, fit
from echelon.data.manifest import Dataset
from echelon.spark.session import session
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    made = session("local[2,8]", workers=2)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 rows to train on, 17 to test on, none to validate on."""
    return write_points(str(tmp_path_factory.mktemp("points") / "dataset"), {"train": 60, "test": 17, "val": 0})


@pytest.fixture(scope="session")
def run(points: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("runs") / "run"
    return fit(Scores(), points, RunConfig(epochs=1, batch_size=20, eval_batch_size=4), run=folder)
