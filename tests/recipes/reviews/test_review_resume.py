"""A prepare of reviews that was killed goes on with what it had read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from echelon.data.commit import RECEIPTS, SCRATCH
from echelon.data.manifest import MANIFEST, WRITING, Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.reviews import prepare as prepare_module
from echelon.recipes.reviews import sources
from echelon.recipes.reviews.made import amazon, made_reviews, write_lines
from echelon.recipes.reviews.options import PrepareOptions
from echelon.recipes.reviews.prepare import prepare

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = PrepareOptions(classes=5, length=20, words=150, test_fraction=0.3)
ON = replace(SMALL, resume=True)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    made = [json.dumps(amazon(one)) for one in made_reviews(600, products=30)]
    write_lines(folder / "a.jsonl", [*made, "no review"])
    write_lines(folder / "b.jsonl", made[:50])
    return folder


def content_of(dataset: Dataset) -> tuple[list[list[object]], bytes, dict[str, object]]:
    rows = [
        [split, *row]
        for split in dataset.splits
        for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 64)
        for row in zip(
            batch.strings("key"), batch["tokens"].tolist(), batch["label"].tolist(), batch.strings("text"), strict=True
        )
    ]
    return rows, dataset.asset("words").tobytes(), dict(dataset.info)


@pytest.fixture(scope="module")
def clean(spark: SparkSession, lines: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spark, str(lines), str(tmp_path_factory.mktemp("clean") / "dataset"), SMALL)


def killed(spark: SparkSession, lines: Path, folder: Path, when: str) -> None:
    """Interrupted as soon as there is a file that matches: seen now and then, and after each file of the driver's."""
    write = Storage.write

    def interrupt(*_: object) -> None:
        if list(folder.glob(when)):
            raise KeyboardInterrupt

    def write_and_look(storage: Storage, path: str, content: bytes) -> None:
        write(storage, path, content)
        interrupt()

    with pytest.raises(KeyboardInterrupt), patch.object(Storage, "write", write_and_look):
        prepare(spark, str(lines), str(folder), SMALL, on_progress=interrupt)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(folder))


def test_what_was_gathered_is_not_read_again(
    spark: SparkSession, lines: Path, clean: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(spark, lines, tmp_path, f"{SCRATCH}/{MANIFEST}")
    gathered = {path: path.stat().st_mtime_ns for path in (tmp_path / SCRATCH).rglob("*.parquet")}
    monkeypatch.setattr(prepare_module, "divided", None)
    resumed = prepare(spark, str(lines), str(tmp_path), ON)
    assert gathered
    assert content_of(resumed) == content_of(clean), "rows in their order, vocabulary, and what became of the lines"
    assert resumed.info["malformed"] == 1
    assert not list(tmp_path.glob(f"{SCRATCH}*"))


def test_parts_that_were_gathered_are_kept(
    spark: SparkSession, lines: Path, clean: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echelon.spark.prepare._LEAST_PART_BYTES", 20_000)
    monkeypatch.setattr(sources, "_LEAST_SPAN", 20_000)
    killed(spark, lines, tmp_path, f"{SCRATCH}/{RECEIPTS}/*/part-*.arrow")
    kept = {path.stem for path in (tmp_path / SCRATCH / RECEIPTS).rglob("part-*.arrow")}
    before = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / SCRATCH).rglob("*.parquet")}

    def look(tasks: object) -> None:
        for path in (tmp_path / SCRATCH).rglob("*.parquet"):
            if path.stem in kept:
                assert path.stat().st_mtime_ns == before[path.stem]

    resumed = prepare(spark, str(lines), str(tmp_path), ON, on_progress=look)
    assert kept <= before.keys()
    assert sorted(content_of(resumed)[0]) == sorted(content_of(clean)[0])
    assert content_of(resumed)[1:] == content_of(clean)[1:]


def test_later_options_may_change_but_not_those_of_what_is_kept(
    spark: SparkSession, lines: Path, tmp_path: Path
) -> None:
    strict = replace(SMALL, max_malformed=0.0)
    with pytest.raises(DataError, match=r"1 of 651 lines .* are malformed"):
        prepare(spark, str(lines), str(tmp_path), strict)
    with pytest.raises(DataError, match="of other files, options"):
        prepare(spark, str(lines), str(tmp_path), replace(ON, length=21))
    with pytest.raises(DataError, match="of other files, options"):
        prepare(spark, str(lines / "a.jsonl"), str(tmp_path), ON)
    assert list((tmp_path / SCRATCH).rglob("*.parquet")), "and nothing is lost by that"
    resumed = prepare(spark, str(lines), str(tmp_path), replace(ON, words=5))
    assert len(resumed.asset("words")) < 60


def test_what_another_plan_has_gathered_is_not_taken(
    spark: SparkSession, lines: Path, clean: Dataset, tmp_path: Path
) -> None:
    """As where a second prepare is killed once it has begun and before it has deleted what a first one left."""
    killed(spark, lines / "b.jsonl", tmp_path / "first", f"{SCRATCH}/{MANIFEST}")
    killed(spark, lines, tmp_path / "second", f"{SCRATCH}/{MANIFEST}")
    (tmp_path / "first" / WRITING).write_bytes((tmp_path / "second" / WRITING).read_bytes())
    resumed = prepare(spark, str(lines), str(tmp_path / "first"), ON)
    assert content_of(resumed) == content_of(clean)


def test_without_resume_all_begins_anew(spark: SparkSession, lines: Path, clean: Dataset, tmp_path: Path) -> None:
    killed(spark, lines / "b.jsonl", tmp_path, f"{SCRATCH}/{MANIFEST}")
    assert content_of(prepare(spark, str(lines), str(tmp_path), SMALL)) == content_of(clean)
