"""Raw items become a dataset by real tasks and Spark's own shuffle."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from echelon.data.cells import Decoded, encode
from echelon.data.commit import asset_path
from echelon.data.manifest import open_dataset
from echelon.data.parts import open_part
from echelon.data.schema import Column, Schema
from echelon.data.shuffle import bucket_of, shuffle_keys
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.data.write import PartWriter, commit, start
from echelon.errors import DataError
from echelon.spark import scattered
from echelon.spark.failure import WorkerFailed
from echelon.spark.notes import Notes
from echelon.spark.prepare import Addition, Finish, Finished, Found, Problem, Rows, Summary, prepare_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = Schema((Column("key", "string"), Column("image", "uint8", (3, 4, 4)), Column("label", "int64")))
ITEMS, ROWS = range(6), 200
PART = 128 << 20


def rows(item: int) -> dict[str, list[str] | NDArray]:
    random = np.random.default_rng(item)
    return {
        "key": [f"{item}/{row}" for row in range(ROWS)],
        "image": random.integers(0, 256, (ROWS, 3, 4, 4), dtype=np.uint8),
        "label": np.full(ROWS, item),
    }


def split_of(row: int) -> str:
    return "test" if row % 5 == 0 else "train"


def decoded(item: int) -> Iterator[Found]:
    """Item 2 has a broken image, item 4 breaks in the middle, item 5 is of one split."""
    values = rows(item)
    if item == 2:
        yield Problem("2/x", "it is no image")
        yield Counter(grey=3)
    if item == 5:
        yield Rows(values, "val")
        return
    for first in (0, 120):
        chunk = slice(first, 120 if first == 0 else ROWS)
        part = {name: of[chunk] for name, of in values.items()}
        yield Rows(part, [split_of(row) for row in range(ROWS)][chunk])
        if item == 4:
            raise DataError("item 4 is cut off")


def test_the_dataset_is_what_one_process_would_write(spark: SparkSession, tmp_path: Path) -> None:
    """The same rows sorted by key, part and split by hand, give the same digest."""
    parts, seed = 3, 7
    dataset, summary = prepare_dataset(
        spark,
        str(tmp_path / "spark"),
        SCHEMA,
        ITEMS,
        decoded,
        bytes_of=lambda item: parts * PART // len(ITEMS),
        shuffle_seed=seed,
    )
    taken: list[tuple[int, str, int, int, int]] = []
    for item in ITEMS:
        keys = shuffle_keys(seed, item, 0, ROWS)
        buckets = bucket_of(keys, parts)
        taken += [
            (int(buckets[row]), "val" if item == 5 else split_of(row), int(keys[row]), item, row)
            for row in range(120 if item == 4 else ROWS)
        ]
    storage = open_storage(str(tmp_path / "one"))
    start(storage)
    files = {}
    for split in ("test", "train", "val"):
        of_split = []
        for part in range(parts):
            writer = PartWriter(storage, split, SCHEMA, part)
            for _, _, _, item, row in sorted(one for one in taken if one[:2] == (part, split)):
                writer.write(encode(SCHEMA, {name: of[row : row + 1] for name, of in rows(item).items()}))
            of_split.append(writer.close())
        files[split] = tuple(of_split)
    assert dataset.digest == commit(storage, SCHEMA, files, shuffled=True).digest
    assert summary.rows == {"test": 184, "train": 736, "val": 200}


def test_what_is_bad_is_counted_and_left_out(spark: SparkSession, tmp_path: Path) -> None:
    def conclude(summary: Summary) -> Addition:
        return Addition({"bad": summary.problems}, {"mean": summary.sums["train"]["image"] / summary.rows["train"]})

    def sums_of(split: str, values: Mapping[str, Decoded]) -> dict[str, NDArray]:
        return {"image": np.asarray(values["image"]).sum(0, dtype=np.int64)}

    url = str(tmp_path / "data")
    dataset, summary = prepare_dataset(spark, url, SCHEMA, ITEMS, decoded, conclude=conclude, sums_of=sums_of)
    assert summary.problems == 2
    assert summary.reported == (Problem("2/x", "it is no image"), Problem("item 4", "item 4 is cut off"))
    assert summary.counts == {"grey": 3}
    assert open_dataset(url).info == {"bad": 2}
    train = [np.asarray(rows(item)["image"])[[row for row in range(120 if item == 4 else ROWS) if row % 5]]
             for item in ITEMS if item != 5]  # fmt: skip
    assert np.array_equal(dataset.asset("mean"), np.concatenate(train).mean(0))


def test_tasks_find_the_arrays_that_they_need_and_the_dataset_keeps_them(spark: SparkSession, tmp_path: Path) -> None:
    """Written before any task, beside what is concluded; the number of parts is as asked."""
    storage = open_storage(str(tmp_path / "data"))

    def moved(values: Mapping[str, Decoded]) -> Finished:
        shift = np.load(f"{storage.url}/{asset_path('shift')}")
        return Finished({**values, "label": np.asarray(values["label"]) + shift[0]})

    dataset, _ = prepare_dataset(
        spark,
        storage.url,
        SCHEMA,
        range(3),
        lambda item: iter([Rows(rows(item))]),
        finish=Finish(SCHEMA, moved, 50),
        assets={"shift": np.array([70])},
        conclude=lambda summary: Addition({}, {"end": np.ones(2)}),
        sums_of=lambda split, values: {"labels": np.bincount(np.asarray(values["label"]))},
        parts=5,
    )
    assert dataset.asset("shift").tolist() == [70]
    assert dataset.asset("end").tolist() == [1, 1]
    assert len(dataset.manifest.files("train")) == 5
    (batch,) = span_batches(dataset, "train", ["label"], 0, 3 * ROWS, 3 * ROWS)
    assert np.bincount(batch["label"].numpy()).tolist() == [0] * 70 + [ROWS] * 3


def test_without_a_seed_the_order_stays(spark: SparkSession, tmp_path: Path) -> None:
    dataset, _ = prepare_dataset(
        spark,
        str(tmp_path),
        SCHEMA,
        range(4),
        lambda item: iter([Rows(rows(item))]),
        shuffle_seed=None,
        bytes_of=lambda item: PART,
    )
    assert not dataset.manifest.shuffled
    assert len(dataset.manifest.files("train")) == 4
    keys = []
    for file in dataset.manifest.files("train"):
        with open_part(dataset, file) as part:
            keys += part.read(range(len(file.row_groups)), ["key"]).column("key").to_pylist()
    assert keys == [f"{item}/{row}" for item in range(4) for row in range(ROWS)]


def test_sums_of_many_parts_are_merged_before_the_driver(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scattered, "_MERGED_AT_ONCE", 3)
    dataset, summary = prepare_dataset(
        spark,
        str(tmp_path),
        SCHEMA,
        range(2),
        lambda item: iter([Rows(rows(item))]),
        sums_of=lambda split, values: {"rows": np.array(len(values["key"]))},
        bytes_of=lambda item: 4 * PART,
    )
    assert len(dataset.manifest.files("train")) == 8
    assert int(summary.sums["train"]["rows"]) == dataset.rows("train") == 2 * ROWS


def test_a_mistake_in_the_decoder_is_the_users_error_and_commits_nothing(spark: SparkSession, tmp_path: Path) -> None:
    def wrong(item: int) -> Iterator[Found]:
        raise AttributeError("typo")

    with pytest.raises(WorkerFailed, match="AttributeError: typo"):
        prepare_dataset(spark, str(tmp_path), SCHEMA, ITEMS, wrong)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(tmp_path))


def test_not_one_row_is_an_error_that_says_why(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not one row .* the first of 6 problems: x: it is no image$"):
        prepare_dataset(spark, str(tmp_path), SCHEMA, ITEMS, lambda item: iter([Problem("x", "it is no image")]))


def test_a_file_that_a_host_does_not_see_is_no_broken_item(spark: SparkSession, tmp_path: Path) -> None:
    def unseen(item: int) -> Iterator[Found]:
        yield Rows(rows(0))
        open_storage(tmp_path / "raw").read("listed.png")

    with pytest.raises(WorkerFailed, match=rf"listed\.png on {socket.gethostname()}, .* a path that all hosts share"):
        prepare_dataset(spark, str(tmp_path / "data"), SCHEMA, ITEMS[:1], unseen)


TRAVELLING = Schema((Column("text", "string"), Column("number", "int64")))
FINISHED = Schema((Column("square", "int64"),))


def read(item: int) -> Iterator[Found]:
    """Rows whose number is all that they hold; one item has something that is bad before it travels."""
    if item == 2:
        yield Problem("2/x", "it is unreadable")
    numbers = np.arange(item * ROWS, (item + 1) * ROWS)
    yield Rows({"text": [f"row {number}" for number in numbers], "number": numbers})
    yield Counter(read=ROWS)


def squared(values: Mapping[str, Decoded]) -> Finished:
    """Every seventh is bad."""
    numbers, texts = np.asarray(values["number"]), values["text"]
    bad = numbers % 7 == 0
    problems = {int(row): Problem(str(texts[row]), "a seventh") for row in np.flatnonzero(bad)}
    return Finished({"square": numbers[~bad] ** 2}, problems, Counter(finished=int((~bad).sum())))


@pytest.mark.parametrize("rows_at_once", [7, 10_000])
def test_rows_finished_after_the_shuffle_are_those_of_the_order_and_none_is_lost(
    spark: SparkSession, tmp_path: Path, rows_at_once: int
) -> None:
    """With no seed the order is that of the items, so that what is left can be written down."""
    dataset, summary = prepare_dataset(
        spark,
        str(tmp_path),
        FINISHED,
        range(4),
        read,
        finish=Finish(TRAVELLING, squared, rows_at_once),
        sums_of=lambda split, values: {"squares": np.asarray(values["square"]).sum()},
        bytes_of=lambda item: 20 << 20,
        shuffle_seed=None,
    )
    assert len(dataset.manifest.files("train")) == 4
    found: list[int] = []
    for file in dataset.manifest.files("train"):
        with open_part(dataset, file) as part:
            found += part.read(range(len(file.row_groups)), ["square"]).column("square").to_pylist()
    expected = [number**2 for number in range(4 * ROWS) if number % 7]
    assert found == expected
    assert int(summary.sums["train"]["squares"]) == sum(expected)
    assert summary.counts == {"read": 4 * ROWS, "finished": len(expected)}
    assert summary.problems == 4 * ROWS - len(expected) + 1
    assert [problem.item for problem in summary.reported] == [f"row {7 * n}" for n in range(20)]


def test_a_mistake_in_the_last_step_is_told_at_once(spark: SparkSession, tmp_path: Path) -> None:
    def wrong(values: Mapping[str, Decoded]) -> Finished:
        raise AttributeError("typo")

    def loses(values: Mapping[str, Decoded]) -> Finished:
        return Finished({"square": np.asarray(values["number"])[1:]})

    for step, message in ((wrong, "AttributeError: typo"), (loses, "none may be lost")):
        with pytest.raises(WorkerFailed, match=message):
            prepare_dataset(
                spark, str(tmp_path / step.__name__), FINISHED, range(2), read, finish=Finish(TRAVELLING, step, 64)
            )
        with pytest.raises(DataError, match="half-written"):
            open_dataset(str(tmp_path / step.__name__))


def test_problems_are_the_first_of_the_items_in_whatever_order_they_came() -> None:
    origins = [(item, row) for item in range(30) for row in range(9)]
    random = np.random.default_rng(0)
    parts = [Notes() for _ in range(3)]
    for number in random.permutation(len(origins)):
        parts[int(random.integers(3))].add(Problem(str(origins[number]), "bad"), origins[number])
    whole = Notes.merged(Notes.from_json(part.to_json()) for part in parts)
    assert whole.problems == len(origins)
    assert [problem.item for _, problem in whole.reported] == [str(origin) for origin in origins[:20]]
