"""A dataset made of another one, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from echelon.data.commit import start
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset
from echelon.errors import DataError
from echelon.spark.failure import WorkerFailed
from echelon.spark.prepare import Rows, prepare_dataset
from echelon.spark.rewritten import Rewritten, rewrite_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BEFORE = Schema((Column("number", "int64"), Column("name", "string")))
AFTER = Schema((Column("square", "int64"), Column("name", "string")))


def source_of(spark: SparkSession, folder: Path) -> Dataset:
    """Three files of 100 rows in their order."""

    def rows_of(item: int) -> Iterator[Rows]:
        numbers = range(100 * item, 100 * item + 100)
        yield Rows({"number": list(numbers), "name": [f"row {number}" for number in numbers]})

    url = str(folder / "source")
    return prepare_dataset(spark, url, BEFORE, range(3), rows_of, bytes_of=lambda item: 128 << 20, shuffle_seed=None)[0]


def squares(rows: pa.RecordBatch) -> Iterator[Rows | Counter[str]]:
    numbers = rows.column("number").to_numpy()
    splits = ["test" if number % 3 == 0 else "train" for number in numbers]
    yield Rows({"square": numbers**2, "name": rows.column("name")}, splits)
    yield Counter(even=int((numbers % 2 == 0).sum()))


def conclude(rewritten: Rewritten) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    return {"rows": dict(rewritten.rows), **rewritten.counts}, {"one": np.ones(1)}


def test_each_row_goes_to_its_split_and_keeps_its_order(spark: SparkSession, tmp_path: Path) -> None:
    source = source_of(spark, tmp_path)
    assert len(source.manifest.files("train")) == 3
    storage = open_storage(str(tmp_path / "data"))
    start(storage)
    dataset = rewrite_dataset(spark, source, storage, AFTER, squares, conclude=conclude)
    assert open_dataset(storage.url).digest == dataset.digest
    assert dataset.info == {"rows": {"test": 100, "train": 200}, "even": 150}
    assert dataset.asset("one").tolist() == [1]
    for split, wanted in (("test", range(0, 300, 3)), ("train", [number for number in range(300) if number % 3])):
        (batch,) = span_batches(dataset, split, None, 0, dataset.rows(split), 1000)
        assert batch["square"].tolist() == [number**2 for number in wanted]
        assert batch.strings("name") == [f"row {number}" for number in wanted]


def test_what_cannot_be_rewritten_commits_nothing(spark: SparkSession, tmp_path: Path) -> None:
    source = source_of(spark, tmp_path)
    storage = open_storage(str(tmp_path / "data"))
    start(storage)

    def wrong(rows: pa.RecordBatch) -> Iterator[Rows]:
        raise LookupError("no such word")

    with pytest.raises(WorkerFailed, match="no such word"):
        rewrite_dataset(spark, source, storage, AFTER, wrong, conclude=conclude)
    with pytest.raises(DataError, match="not one row"):
        rewrite_dataset(spark, source, storage, AFTER, lambda rows: iter(()), conclude=conclude)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(storage.url)
    file = source.manifest.files("train")[1]
    damaged = bytearray(source.data.read(file.path))
    damaged[100] ^= 0xFF
    source.data.write(file.path, bytes(damaged))
    with pytest.raises(WorkerFailed, match=file.path.rpartition("/")[2]):
        rewrite_dataset(spark, source, storage, AFTER, squares, conclude=conclude)


def test_rows_of_one_process_can_be_rewritten_too(spark: SparkSession, tmp_path: Path) -> None:
    rows = [{"number": list(range(10)), "name": list("abcdefghij")}]
    source = write_dataset(str(tmp_path / "source"), BEFORE, {"a": rows, "b": rows})
    storage = open_storage(str(tmp_path / "data"))
    start(storage)
    dataset = rewrite_dataset(spark, source, storage, AFTER, squares, conclude=conclude)
    assert {split: dataset.rows(split) for split in dataset.splits} == {"test": 8, "train": 12}
