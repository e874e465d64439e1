"""Rows that mean the same become one, whatever pieces they come in; and the most frequent strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.cells import decode, encode
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.spark import counted
from echelon.spark.carriage import Run
from echelon.spark.counted import most_frequent
from echelon.spark.merged import MERGED, Merge, merged
from echelon.spark.notes import Notes
from echelon.spark.prepare import Found, Rows, prepare_dataset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = Schema((Column("same", "uint8", (2,)), Column("votes", "int64", (3,)), Column("name", "string")))
MERGE = Merge("same", "votes")


def rows(same: list[int], first: int) -> dict[str, object]:
    names = [f"row {number}" for number in range(first, first + len(same))]
    votes = np.eye(3, dtype=np.int64)[np.arange(first, first + len(same)) % 3]
    return {"same": np.array([[s, s + 1] for s in same], np.uint8).reshape(-1, 2), "votes": votes, "name": names}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=30).map(sorted), st.lists(st.integers(0, 30), max_size=8))
def test_of_equal_rows_the_first_stays_with_the_sum_of_all(same: list[int], cuts: list[int]) -> None:
    whole = encode(SCHEMA, rows(same, 0))
    numbers = np.arange(len(same))
    bounds = [0, *sorted(min(cut, len(same)) for cut in cuts), len(same)]
    runs = [
        Run(int(same[a] > 3) if a < b else 0, "x", whole.slice(a, b - a), (numbers[a:b], numbers[a:b]))
        for a, b in pairwise(bounds)
        if len({s > 3 for s in same[a:b]}) < 2
    ]
    taken = [number for run in runs for number in run.origins[0].tolist()]
    notes = Notes()
    found = list(merged(runs, MERGE, SCHEMA, notes))
    wanted: dict[int, list[int]] = {}
    for number in taken:
        wanted.setdefault(same[number], []).append(number)
    pieces = [decode(SCHEMA, run.rows) for run in found]
    assert [name for piece in pieces for name in piece["name"]] == [f"row {of[0]}" for of in wanted.values()]
    sums = [vote for piece in pieces for vote in np.asarray(piece["votes"]).tolist()]
    assert sums == [[sum(number % 3 == kind for number in of) for kind in range(3)] for of in wanted.values()]
    assert [number for run in found for number in run.origins[1].tolist()] == [of[0] for of in wanted.values()]
    assert notes.counts[MERGED] == len(taken) - len(wanted)
    assert all(run.part == int(value > 3) for run, piece in zip(found, pieces) for value, _ in piece["same"].tolist())


def spread(item: int) -> Iterator[Found]:
    """Each item has each of 40 values 3 times, in two pieces."""
    same = [(7 * number) % 40 for number in range(120)]
    for first in (0, 50):
        part = same[first : 50 if first == 0 else 120]
        keys = np.array([value << 57 for value in part], np.int64) if item >= 0 else None
        yield Rows(rows(part, first), keys=keys)


def test_equal_rows_of_all_items_meet(spark: SparkSession, tmp_path: Path) -> None:
    dataset, summary = prepare_dataset(
        spark, str(tmp_path / "data"), SCHEMA, range(5), spread, merge=MERGE, bytes_of=lambda item: 40 << 20
    )
    (batch,) = span_batches(dataset, "train", None, 0, dataset.rows("train"), 1000)
    assert batch["same"][:, 0].tolist() == list(range(40))
    assert batch["votes"].sum(dim=1).tolist() == [15] * 40
    assert summary.counts[MERGED] == 5 * 120 - 40
    assert len(dataset.manifest.files("train")) > 1


def words_of(item: int) -> Iterator[pa.Array]:
    random = np.random.default_rng(item)
    for _ in range(3):
        yield pa.array([f"w\u00e9{number}" for number in random.zipf(1.5, 500).clip(1, 400).tolist()])


@pytest.mark.parametrize("held", [100, 1 << 19])
def test_the_most_frequent_strings_are_those_of_a_counter(spark: SparkSession, held: int) -> None:
    counter: Counter[str] = Counter(word for item in range(4) for piece in words_of(item) for word in piece.to_pylist())

    def strings_of(item: int) -> Iterator[pa.Array]:
        counted._HELD_ROWS = held
        yield from words_of(item)

    wanted = sorted(counter.items(), key=lambda one: (-one[1], one[0].encode()))
    assert len({number for _, number in wanted[:50]}) < 50, "some are equally frequent"
    assert most_frequent(spark, range(4), strings_of, 50) == wanted[:50]
    assert most_frequent(spark, range(4), strings_of, 10_000) == wanted
    assert most_frequent(spark, [], strings_of, 5) == []
