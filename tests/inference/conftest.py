"""A run of a small learner, and the points that it was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from scores import Scores, write_points

from echelon.api import Run, fit
from echelon.data.manifest import Dataset
from echelon.train.config import RunConfig


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 rows to train on, 17 to test on, none to validate on."""
    return write_points(str(tmp_path_factory.mktemp("points") / "dataset"), {"train": 60, "test": 17, "val": 0})


@pytest.fixture(scope="session")
def run(points: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("runs") / "run"
    return fit(Scores(), points, RunConfig(epochs=1, batch_size=20, eval_batch_size=4), run=folder)
