"""Tasks of Spark answer for their rows, however much they have to say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from echelon.api import Run
from echelon.data.manifest import Dataset
from echelon.driver import Place
from echelon.inference import AS_IN_RUN
from echelon.spans import Work, over, shares_of
from echelon.train.run import RunFolder
from echelon.train.trained import newest_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize("size", [0, 1 << 20, 40 << 20])
def test_answers_of_any_length_come_whole_and_leave_nothing(
    run: Run, points: Dataset, spark: SparkSession, size: int
) -> None:
    """Thirty of the longest would be more than Spark lets a driver collect (spark.driver.maxResultSize, 1 GB)."""
    folder, place = RunFolder(run.url), Place(workers=2)
    work = Work(folder.url, points, folder.learner, newest_of(folder), AS_IN_RUN.of(folder.config))
    shares = shares_of(points, ["test"], place)
    before = {path for path in Path(run.url).rglob("*") if path.is_file()}
    # Newlines and the marks of answers are content like any other.
    answers = over(place, work, lambda work, model, share: b"s\nf%d" % share[0].start + bytes(size), shares)
    assert answers == [b"s\nf%d" % share[0].start + bytes(size) for share in shares]
    assert len(answers) == 2
    assert {path for path in Path(run.url).rglob("*") if path.is_file()} == before
