"""Spans of a split in the dataset's order: every row once, whatever the row groups and the batches."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.data.write import write_dataset
from echelon.train.evaluate import span_of

ROWS = 203
SCHEMA = Schema(
    (
        Column("number", "int64"),
        Column("x", "float32", (5,)),
        Column("tokens", "int32", (None,)),
        Column("key", "string"),
    )
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    numbers = np.arange(ROWS)
    rows = {
        "number": numbers,
        "x": np.repeat(numbers[:, None], 5, axis=1).astype(np.float32),
        "tokens": [np.full(n % 4, n, dtype=np.int32) for n in numbers.tolist()],
        "key": [str(n) for n in numbers.tolist()],
    }
    url = str(tmp_path_factory.mktemp("span") / "dataset")
    return write_dataset(url, SCHEMA, {"test": [rows]}, shuffle_seed=None, row_group_mb=0.001)


@given(st.integers(0, ROWS), st.integers(0, ROWS), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_rows_in_order(dataset: Dataset, one: int, other: int, size: int) -> None:
    start, end = sorted((one, other))
    batches = list(span_batches(dataset, "test", None, start, end, size))
    assert [len(batch) for batch in batches] == [min(size, end - first) for first in range(start, end, size)]
    assert [n for batch in batches for n in batch.rows.tolist()] == list(range(start, end))
    for batch in batches:
        numbers = batch.rows.numpy()
        np.testing.assert_array_equal(batch["number"].numpy(), numbers)
        assert (batch["x"].numpy() == numbers[:, None]).all()
        assert batch.strings("key") == [str(n) for n in numbers]
        np.testing.assert_array_equal(batch.lengths["tokens"].numpy(), numbers % 4)
        np.testing.assert_array_equal(batch["tokens"].numpy().sum(axis=1), numbers % 4 * numbers)


def test_the_dataset_has_many_row_groups_and_each_is_read_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    decode = RowGroups.decode
    monkeypatch.setattr(RowGroups, "decode", lambda groups, group: read.append(group) or decode(groups, group))
    list(span_batches(dataset, "test", None, 0, ROWS, 7))
    assert read == list(range(len(dataset.manifest.files("test")[0].row_groups)))
    assert len(read) > 5


def test_spans_of_workers_hold_each_row_once(dataset: Dataset) -> None:
    spans = [span_of(ROWS, part, 7) for part in range(7)]
    seen = [n for a, b in spans for batch in span_batches(dataset, "test", ("key",), a, b, 10) for n in batch.rows]
    assert seen == list(range(ROWS))


@pytest.mark.parametrize(("start", "end", "size"), [(-1, 3, 1), (5, 4, 1), (0, ROWS + 1, 1), (0, 1, 0)])
def test_rows_that_are_not_there_are_refused(dataset: Dataset, start: int, end: int, size: int) -> None:
    with pytest.raises(ValueError, match=rf"cannot read rows \[{start}, {end}\) of {ROWS}, {size} at a time"):
        next(span_batches(dataset, "test", None, start, end, size))


def test_stopping_early_leaves_no_thread(dataset: Dataset) -> None:
    batches = span_batches(dataset, "test", None, 0, ROWS, 1)
    next(batches)
    del batches
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_batches_may_be_changed_in_place(dataset: Dataset) -> None:
    for batch in span_batches(dataset, "test", ("x", "number"), 0, ROWS, 40):
        batch["x"].zero_()
    assert next(span_batches(dataset, "test", ("x",), 9, 10, 1))["x"].tolist() == [[9.0] * 5]
