"""The old HDF5 tables, out and in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.reviews import RECIPE
from echelon.recipes.reviews.cleaning import Cleaning
from echelon.recipes.reviews.hdf5 import export_hdf5, lengths_of
from echelon.recipes.reviews.made import amazon, made_reviews, write_lines
from echelon.recipes.reviews.options import Fitting, PrepareOptions
from echelon.recipes.reviews.prepare import prepare
from echelon.recipes.reviews.settings import TrainOptions
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

h5py = pytest.importorskip("h5py")


def tables(dataset: Dataset) -> dict[str, np.ndarray]:
    """ids, length and label of all rows of each split."""
    found = {}
    for split in dataset.splits:
        (batch,) = span_batches(dataset, split, ("tokens", "length", "label"), 0, dataset.rows(split), 10_000)
        columns = [batch["tokens"].numpy().astype(np.int64), batch["length"].numpy(), batch["label"].numpy()]
        found[split] = np.column_stack(columns)
    return found


def in_order(table: np.ndarray) -> np.ndarray:
    return table[np.lexsort(table.T)]


def test_a_dataset_that_is_exported_and_prepared_again_has_the_same_rows(spark: SparkSession, tmp_path: Path) -> None:
    """Trap: labels lost between writer and reader."""
    write_lines(tmp_path / "x.jsonl", [json.dumps(amazon(one)) for one in made_reviews(400)])
    options = PrepareOptions(classes=5, length=100, words=200, test_fraction=0.25)
    dataset = prepare(spark, str(tmp_path / "x.jsonl"), str(tmp_path / "one"), options)
    assert export_hdf5(dataset, tmp_path / "old.h5") == {split: dataset.rows(split) for split in dataset.splits}
    inode = (tmp_path / "old.h5").stat().st_ino
    with pytest.raises(DataError, match=r"there is already a file .*old\.h5"):
        export_hdf5(dataset, tmp_path / "old.h5")
    assert (tmp_path / "old.h5").stat().st_ino == inode
    export_hdf5(dataset, tmp_path / "old.h5", overwrite=True)
    assert (tmp_path / "old.h5").stat().st_ino != inode
    before = tables(dataset)
    with h5py.File(tmp_path / "old.h5") as file:
        for split in dataset.splits:
            assert file[split].shape == (dataset.rows(split), 101)
            assert np.array_equal(file[split][:, :100], before[split][:, :100])
            assert np.array_equal(file[split][:, 100], before[split][:, 101])
    again = prepare(spark, str(tmp_path / "old.h5"), str(tmp_path / "two"), options)
    after = tables(again)
    assert after.keys() == before.keys()
    for split, table in before.items():
        assert np.array_equal(in_order(after[split]), in_order(table))
    assert again.info["counts"] == dataset.info["counts"]
    assert again.info["ids"] <= dataset.info["ids"]
    assert list(tmp_path.glob(".*")) == []


def test_old_tables_are_divided_by_their_ids_and_their_labels_may_be_stars(spark: SparkSession, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = random.integers(2, 50, (300, 12))
    lengths = random.integers(0, 13, 300)
    ids[np.arange(12) >= lengths[:, None]] = 1
    ids[100:200], stars = ids[:100], random.integers(1, 6, (300, 1))
    lengths[100:200] = lengths[:100]
    with h5py.File(tmp_path / "old.hdf5", "w") as file:
        file["data/reviews"] = np.concatenate([ids, stars], axis=1).astype(np.int32)
        file["else"] = np.zeros(3)
    dataset = prepare(spark, str(tmp_path / "old.hdf5"), str(tmp_path / "data"), PrepareOptions(test_fraction=0.3))
    found = tables(dataset)
    there = lengths > 0
    wanted = np.column_stack([ids, lengths, (stars > 3).astype(int)])[there]
    assert np.array_equal(in_order(np.concatenate(list(found.values()))), in_order(wanted))
    train, test = ({row.tobytes() for row in table[:, :12]} for table in (found["train"], found["test"]))
    assert not train & test
    assert dataset.info["empty"] == 300 - there.sum()
    assert 0.1 < len(test) / (len(train) + len(test)) < 0.5


def test_ids_that_a_model_has_never_seen_are_unknown_words_to_it(spark: SparkSession, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["train"] = np.array([[3, 4, 1, 0], [5, 1, 1, 1], [4, 5, 3, 1]])
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["reviews"] = np.array([[3, 9, 6, 1], [8, 1, 1, 0], [1, 1, 1, 0]])
    trained_on = prepare(spark, str(tmp_path / "old.h5"), str(tmp_path / "old"), PrepareOptions(test_fraction=0))
    learner = RECIPE.learner(trained_on, TrainOptions(), RunConfig(epochs=1, batch_size=2).resolved(1))
    dataset = RECIPE.prepare(
        spark, str(tmp_path / "new.h5"), str(tmp_path / "new"), PrepareOptions(), fitting=learner, overwrite=False
    )
    learner.check(dataset)
    assert tables(dataset)["test"].tolist() == [[3, 2, 2, 3, 1], [2, 1, 1, 1, 0], [2, 1, 1, 1, 0]]


def test_the_length_of_a_row_ends_before_its_padding() -> None:
    assert lengths_of(np.array([[5, 1, 7, 1, 1], [1, 1, 1, 1, 1], [2, 3, 4, 5, 6]])).tolist() == [3, 0, 5]


def test_labels_that_mean_nothing_and_files_that_are_none_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.array([[2, 3, 7]])
    with pytest.raises(DataError, match=r"labels .* are 7 to 7"):
        prepare(spark, str(tmp_path / "x.h5"), str(tmp_path / "data"), PrepareOptions())
    words = Fitting(("a",), 2, ("negative", "positive"), Cleaning())
    with pytest.raises(DataError, match="trained on words"):
        prepare(spark, str(tmp_path / "x.h5"), str(tmp_path / "data"), PrepareOptions(), fitting=words)
    (tmp_path / "x.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.h5 cannot be read as HDF5"):
        prepare(spark, str(tmp_path / "x.h5"), str(tmp_path / "data"), PrepareOptions())
