"""Evaluation of a run: every row of a split once, however many workers there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import SparkSession
from scores import Counted, points_of, write_points

from echelon.api import Run, fit
from echelon.data.manifest import Dataset
from echelon.errors import DataError, EchelonError
from echelon.train.config import RunConfig


def error_of(run: Run, ids: np.ndarray) -> float:
    points = points_of(ids)
    with torch.no_grad():
        found = run.model()(torch.from_numpy(points["x"]))[:, 0].numpy()
    return float(((found - points["y"]).astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_counts_once(run: Run, points: Dataset, workers: int, spark: SparkSession) -> None:
    found = run.evaluate(points, workers=workers)
    assert (found.split, found.rows) == ("test", 17), "there are no rows to validate on"
    assert found.metrics["squared_error"] == pytest.approx(error_of(run, np.arange(60, 77)), rel=1e-5)


def test_what_is_more_than_a_number_is_merged_too(points: Dataset, tmp_path: Path, spark: SparkSession) -> None:
    run = fit(Counted(), points, RunConfig(epochs=1, batch_size=20, eval_batch_size=4), run=tmp_path / "run")
    told = [event["arrays"] for event in run.events() if event["kind"] == "evaluate"]
    assert told == [run.evaluate(points).arrays]
    assert told == [run.evaluate(points, workers=3).arrays]
    rows = points_of(np.arange(60, 77))
    positive, high = rows["y"] > 0, (rows["x"][:, 2] + 1) / 5 > 0.5
    expected = [[int(((positive == truth) & (high == said)).sum()) for said in (0, 1)] for truth in (0, 1)]
    assert told[0]["fifths"] == expected
    false, true, thresholds = told[0]["above"]
    assert thresholds == [0.75, 0.25]
    assert true[1] == pytest.approx(((rows["x"][:, 2] + 1) / 5 >= 0.25)[positive].mean())
    assert false[0] == pytest.approx(((rows["x"][:, 2] + 1) / 5 >= 0.75)[~positive].mean())
    assert set(run.metrics) == {"squared_error"}


def test_more_workers_than_rows(run: Run, tmp_path: Path, spark: SparkSession) -> None:
    few = write_points(str(tmp_path / "few"), {"train": 2})
    found = run.evaluate(few, workers=5)
    assert (found.split, found.rows) == ("train", 2), "the only split"
    assert found.metrics["squared_error"] == pytest.approx(error_of(run, np.arange(2)), rel=1e-5)
    assert run.predict(few, tmp_path / "out", workers=5).rows("train") == 2


def test_a_split_without_rows_is_named(run: Run, points: Dataset) -> None:
    with pytest.raises(DataError, match=r"the split 'val' of .* has no rows to evaluate on"):
        run.evaluate(points, split="val")


def test_an_unknown_split_is_named_with_those_that_there_are(run: Run, points: Dataset) -> None:
    with pytest.raises(EchelonError, match="no split 'dev'; there are: "):
        run.evaluate(points, split="dev")


def test_where_no_split_stands_out_one_must_be_chosen(run: Run, tmp_path: Path) -> None:
    both = write_points(str(tmp_path / "both"), {"a": 4, "b": 4})
    with pytest.raises(EchelonError, match="has the splits a, b: choose one"):
        run.evaluate(both)
    assert run.evaluate(both, split="b").rows == 4
