"""Prediction: every row once, joined with what it is about, and nothing is deleted for predictions that fail."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession
from scores import Noted, ReadsAll, Scores, points_of, write_points

from echelon.api import Run, fit
from echelon.data.adopt import adopt
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.data.write import write_dataset
from echelon.errors import DataError, EchelonError
from echelon.train.config import RunConfig


def rows_of(dataset: Dataset, split: str) -> dict:
    (batch,) = span_batches(dataset, split, None, 0, dataset.rows(split), dataset.rows(split))
    return {name: values if isinstance(values, list) else values.numpy() for name, values in batch.columns.items()}


def check_joined(run: Run, rows: dict, ids: range) -> None:
    """Every id once, with its own columns and the score that the model gives it alone."""
    assert sorted(rows["id"].tolist()) == list(ids)
    points = points_of(rows["id"])
    for name in ("name", "key"):
        assert rows[name] == points[name]
    np.testing.assert_array_equal(rows["weight"], points["weight"], strict=True)
    with torch.no_grad():
        wanted = run.model()(torch.from_numpy(points["x"]))[:, 0].numpy()
    np.testing.assert_allclose(rows["score"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_predictions_are_joined_with_their_rows(
    run: Run, points: Dataset, tmp_path: Path, workers: int, spark: SparkSession
) -> None:
    out = run.predict(points, tmp_path / "out", workers=workers)
    assert open_dataset(out.url).manifest == out.manifest
    assert out.schema.names == ("row", "id", "name", "weight", "key", "score")
    assert len(out.manifest.files("train")) == workers
    for split, ids in (("train", range(60)), ("test", range(60, 77))):
        rows = rows_of(out, split)
        check_joined(run, rows, ids)
        assert rows["row"].tolist() == list(range(len(ids)))
        assert rows["id"].tolist() == rows_of(points, split)["id"].tolist(), "in the order of the dataset"


def test_predictions_for_a_frame_are_joined_with_its_rows(run: Run, tmp_path: Path, spark: SparkSession) -> None:
    values = points_of(np.arange(40))
    values["weight"] = values["weight"].astype(np.float32)
    rows = [dict(zip(values, row, strict=True)) for row in zip(*map(list, values.values()), strict=True)]
    plain = [{k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in row.items()} for row in rows]
    schema = "id long, x array<float>, y float, name string, weight float, key string"
    out = run.predict(spark.createDataFrame(plain, schema), tmp_path / "out")
    found = rows_of(out, "train")
    found["weight"] = found["weight"].astype(np.float16)
    check_joined(run, found, range(40))
    assert found["id"].tolist() != list(range(40)), "the frame was shuffled"


def test_all_numbers_and_strings_stay_with_a_learner_that_names_no_columns(
    run: Run, points: Dataset, tmp_path: Path
) -> None:
    out = Run(run.url, ReadsAll()).predict(points, tmp_path / "out", split="test")
    assert out.schema.names == ("row", "id", "y", "name", "weight", "key", "score")
    assert out.splits == ("test",)


def test_workers_write_where_the_driver_means(
    run: Run, points: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    """The processes of Spark work in another folder than this one."""
    monkeypatch.chdir(tmp_path)
    out = run.predict(points, "out", workers=2)
    assert out.url == str(tmp_path / "out")
    check_joined(run, rows_of(open_dataset("out"), "train"), range(60))


def test_one_name_is_not_used_twice(run: Run, points: Dataset, tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match=r"Scores\.predict gives a column 'name', but the one of the dataset"):
        Run(run.url, Scores(also="name")).predict(points, tmp_path / "out")
    schema = Schema((Column("x", "float32", (3,)), Column("y", "float32"), Column("row", "int64")))
    values = {"x": np.zeros((3, 3), np.float32), "y": np.zeros(3, np.float32), "row": np.arange(3)}
    other = write_dataset(str(tmp_path / "rows"), schema, {"train": [values]})
    with pytest.raises(EchelonError, match=r"the dataset has a column 'row'.*rename it"):
        run.predict(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_shape_that_differs_between_batches_is_refused(
    run: Run, points: Dataset, tmp_path: Path, workers: int, spark: SparkSession
) -> None:
    out = tmp_path / "out"
    wide = Run(run.url, Scores(also="width"))
    with pytest.raises(EchelonError, match=r"'wide' as float32\[\d\] for some rows, and 'wide' as .* list of tensors"):
        wide.predict(points, out, workers=workers)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(out))


def test_tensors_of_any_length_are_predicted_one_a_row(run: Run, points: Dataset, tmp_path: Path) -> None:
    out = Run(run.url, Scores(also="lengths")).predict(points, tmp_path / "out", split="train")
    assert out.schema.column("long") == Column("long", "float32", (None,))
    (batch,) = span_batches(out, "train", ("id", "long"), 0, 60, 60)
    assert batch.lengths["long"].tolist() == (batch["id"] % 5).tolist()


@pytest.mark.parametrize(("workers", "again"), [(1, 1), (2, 3)])
def test_a_model_is_loaded_once_by_each_task_for_all_splits(
    run: Run, points: Dataset, tmp_path: Path, workers: int, again: int, spark: SparkSession
) -> None:
    """Once more only on Spark, where a dataset is to be replaced: it must outlive a model that cannot predict."""
    notes = tmp_path / "notes"
    notes.mkdir()
    noted = Run(run.url, Noted(notes=str(notes)))
    out = noted.predict(points, tmp_path / "out", workers=workers)
    assert (out.rows("train"), out.rows("test")) == (60, 17)
    assert len(os.listdir(notes)) == workers
    noted.predict(points, tmp_path / "out", workers=workers, overwrite=True)
    assert len(os.listdir(notes)) == workers + again


# What is refused before anything is deleted


def test_predictions_never_replace_what_they_are_about(run: Run, tmp_path: Path) -> None:
    dataset = write_points(str(tmp_path / "points"), {"train": 10})
    (tmp_path / "link").symlink_to("points")
    for out in ("points", "points/out", "link", "."):
        with pytest.raises(DataError, match=r"cannot be written to .*Choose another folder"):
            run.predict(dataset, tmp_path / out, overwrite=True)
    assert open_dataset(dataset.url).rows("train") == 10
    assert sorted(os.listdir(dataset.url)) == ["_manifest.json", "split=train"]


def test_predictions_never_replace_adopted_files(run: Run, tmp_path: Path) -> None:
    points = write_points(str(tmp_path / "points"), {"train": 10})
    (file,) = points.manifest.files("train")
    (tmp_path / "plain").mkdir()
    pq.write_table(pq.read_table(tmp_path / "points" / file.path, partitioning=None), tmp_path / "plain" / "a.parquet")
    adopted = adopt(tmp_path / "plain" / "a.parquet", tmp_path / "adopted")
    (tmp_path / "plain" / "_writing.json").write_bytes(b"{}")  # as a killed writer leaves
    for out in ("plain", "."):
        with pytest.raises(DataError, match=r"cannot be written to .*Choose another folder"):
            run.predict(adopted, tmp_path / out, overwrite=True)
    assert run.predict(adopted, tmp_path / "plain" / "out").rows("train") == 10, "beside the file"


def test_old_predictions_outlive_new_ones_that_fail(run: Run, points: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    old = run.predict(points, out)
    with pytest.raises(DataError, match="already a dataset"):
        run.predict(points, out)
    with pytest.raises(RuntimeError, match="nothing to predict"):
        Run(run.url, Scores(also="nothing")).predict(points, out, overwrite=True)
    with pytest.raises(EchelonError, match="no rows to predict in the split 'val'"):
        run.predict(points, out, split="val", overwrite=True)
    with pytest.raises(EchelonError, match="no split 'dev'; there are: "):
        run.predict(points, out, split="dev", overwrite=True)
    assert open_dataset(str(out)).manifest == old.manifest
    assert rows_of(old, "test")["id"].size == 17
    assert run.predict(points, out, split="test", overwrite=True).splits == ("test",)


def test_the_threads_of_this_process_stay_as_they_were(run: Run, points: Dataset, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run.predict(points, tmp_path / "out")
        run.evaluate(points)
        fit(Scores(), points, RunConfig(batch_size=20, max_steps=1), run=tmp_path / "run")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_precision_that_the_processor_lacks_is_told_of(
    run: Run, points: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flags = tmp_path / "cpuinfo"
    monkeypatch.setattr("echelon.train.precision._CPU_FLAGS", flags)
    for name, told in (("avx2 avx512_bf16", False), ("avx2", True)):
        flags.write_text(f"flags : {name}")
        caplog.clear()
        out = run.predict(points, tmp_path / name, workers=1, precision="bf16")
        assert out.rows("train") == 60
        assert ("no instructions for bf16" in caplog.text) == told
