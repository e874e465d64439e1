"""A DataFrame becomes a dataset, and a dataset a DataFrame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from echelon.data.manifest import MANIFEST
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset
from echelon.errors import DataError, EchelonError
from echelon.spark.frame import write_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS = 90


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    """A column of each kind; the odd name must survive."""
    from pyspark.ml.feature import VectorAssembler

    plain = spark.range(ROWS).selectExpr(
        "id",
        "cast(id as double) / 4 as `odd.name`",
        "cast(id as decimal(10, 2)) as price",
        "id % 3 = 0 as flag",
        "concat('row ', id) as text",
        "cast(concat('ab', id % 10) as binary) as bytes",
        "array(cast(id as float), cast(1 as float)) as pair",
        "slice(array(1, 2, 3), 1, cast(id % 4 as int)) as some",
        "if(id % 9 = 0, 'test', 'train') as split",
    )
    return VectorAssembler(inputCols=["id", "price"], outputCol="vector").transform(plain)


def test_every_kind_of_column_arrives(frame: DataFrame, tmp_path: Path) -> None:
    dataset = write_frame(frame, str(tmp_path))
    assert dataset.schema == Schema(
        (
            Column("id", "int64"), Column("odd.name", "float64"), Column("price", "float64"), Column("flag", "bool"),
            Column("text", "string"), Column("bytes", "uint8", (3,)), Column("pair", "float32", (2,)),
            Column("some", "int32", (None,)), Column("vector", "float32", (2,)),
        )
    )  # fmt: skip
    assert {split: dataset.rows(split) for split in dataset.splits} == {"test": 10, "train": 80}
    (batch,) = span_batches(dataset, "train", None, 0, 80, 80)
    ids = batch["id"].tolist()
    assert sorted(ids) == [i for i in range(ROWS) if i % 9]
    assert ids != sorted(ids)
    for row, i in enumerate(ids):
        assert batch["odd.name"][row] == i / 4
        assert batch["price"][row] == i
        assert batch["flag"][row] == (i % 3 == 0)
        assert batch.strings("text")[row] == f"row {i}"
        assert bytes(batch["bytes"][row].tolist()) == f"ab{i % 10}".encode()
        assert batch["pair"][row].tolist() == [i, 1]
        assert batch["some"][row][: batch.lengths["some"][row]].tolist() == [1, 2, 3][: i % 4]
        assert batch["vector"][row].tolist() == [i, i]


def test_the_same_rows_give_the_same_dataset_however_they_are_divided(frame: DataFrame, tmp_path: Path) -> None:
    digests = {write_frame(frame.repartition(n, "text"), str(tmp_path / str(n))).digest for n in (1, 5)}
    assert len(digests) == 1
    assert write_frame(frame, str(tmp_path / "other"), seed=1).digest not in digests


def test_nulls_are_refused_with_the_columns_names(frame: DataFrame, tmp_path: Path) -> None:
    holes = frame.selectExpr("id", "if(id < 2, null, text) as text", "if(id = 5, null, array(0.0D)) as a")
    with pytest.raises(DataError, match=r"of 90 rows there are nulls in column 'text' in 2, 'a' in 1"):
        write_frame(holes, str(tmp_path / "data"))


@pytest.mark.parametrize("entries", ["array(1.0D, null)", "array(1.0D, 2.0D, cast(null as double))"])
def test_a_null_within_a_list_is_found_while_writing(frame: DataFrame, tmp_path: Path, entries: str) -> None:
    holes = frame.selectExpr("id", f"if(id = 5, {entries}, array(0.0D, 1.0D)) as `the.list`")
    with pytest.raises(
        EchelonError, match=r"part \d+ on .* failed: column 'the.list' has 1 nulls within its lists: fill them first"
    ):
        write_frame(holes, str(tmp_path / "data"))
    assert not open_storage(tmp_path / "data").exists(MANIFEST)


def test_a_split_that_cannot_be_a_folder_is_refused_once(frame: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="a split cannot be called 'a/b'"):
        write_frame(frame.selectExpr("id", "'a/b' as split"), str(tmp_path / "data"))


def test_each_part_has_about_as_many_rows_and_the_order_of_their_keys(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echelon.spark.frame._PART_BYTES", 4_000)
    rows = spark.range(0, 3_000, 1, 3).selectExpr("id", "if(id % 3 = 0, 'test', 'train') as split")
    dataset = write_frame(rows, str(tmp_path), seed=3)
    parts = [file.rows for file in dataset.manifest.splits["train"]]
    assert len(parts) == 6
    assert max(parts) < 1.4 * min(parts)
    assert sum(parts) == 2_000
    (batch,) = span_batches(dataset, "train", None, 0, 2_000, 2_000)
    keyed = rows.filter("split = 'train'").selectExpr("id", "shiftrightunsigned(xxhash64(3, split, id), 1) as key")
    assert batch["id"].tolist() == [row["id"] for row in keyed.orderBy("key").collect()]


def test_a_column_of_another_kind_is_refused_by_name(frame: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'day' is date, which no dataset can hold"):
        write_frame(frame.selectExpr("id", "current_date() as day"), str(tmp_path))
    with pytest.raises(DataError, match="no rows"):
        write_frame(frame.filter("false"), str(tmp_path))


def test_a_frame_that_is_another_each_time_becomes_no_dataset(frame: DataFrame, tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with calls.open("a") as file:
            file.write(".")
        for batch in batches:
            yield batch.slice(0, len(batch) - len(calls.read_text()))

    shrinking = frame.select("id").coalesce(1).mapInArrow(rows, "id long")
    with pytest.raises(DataError, match=r"had 89 rows when they were counted and 88 when they were written"):
        write_frame(shrinking, str(tmp_path / "data"))
    assert not open_storage(tmp_path / "data").exists(MANIFEST)


def test_an_error_of_the_frame_itself_is_not_taken_for_a_lost_process(frame: DataFrame, tmp_path: Path) -> None:
    from pyspark.errors import PySparkException

    broken = frame.selectExpr("id", "cast(raise_error('the query is wrong') as int) as x")
    with pytest.raises(PySparkException, match="the query is wrong"):
        write_frame(broken, str(tmp_path))


def test_spark_reads_a_dataset_as_a_table(spark: SparkSession, tmp_path: Path) -> None:
    schema = Schema((Column("x", "float32", (2,)), Column("n", "int64"), Column("t", "string")))
    values = {"x": np.arange(20, dtype=np.float32).reshape(10, 2), "n": np.arange(10), "t": [str(i) for i in range(10)]}
    write_dataset(str(tmp_path), schema, {"train": [values], "test": [values]})
    table = spark.read.parquet(str(tmp_path)).orderBy("split", "n").collect()
    assert [(row["split"], row["n"]) for row in table] == [(s, n) for s in ("test", "train") for n in range(10)]
    assert all(row["t"] == str(row["n"]) for row in table)
    assert np.array_equal(
        np.frombuffer(b"".join(bytes(row["x"]) for row in table[:10]), "<f4"), values["x"].reshape(-1)
    )
