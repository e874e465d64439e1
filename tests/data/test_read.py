"""Rows by number, whatever finds room and whoever decodes; an error leaves nothing half read."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.read import RowReader
from echelon.data.schema import Column, Schema
from echelon.data.threads import in_threads
from echelon.data.write import write_dataset
from echelon.errors import StorageError

ROWS = 150


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    schema = Schema((Column("x", "int32", (4,)), Column("tokens", "int16", (None,)), Column("key", "string")))
    numbers = np.arange(ROWS)
    rows = {
        "x": np.repeat(numbers[:, None], 4, axis=1).astype(np.int32),
        "tokens": [np.full(n % 3, n, dtype=np.int16) for n in numbers.tolist()],
        "key": [str(n) for n in numbers.tolist()],
    }
    url = str(tmp_path_factory.mktemp("read") / "dataset")
    return write_dataset(url, schema, {"train": [rows]}, shuffle_seed=None, row_group_mb=0.0003)


def check(reader: RowReader, numbers: list[int], soon: list[int]) -> None:
    taken = reader.take(np.asarray(numbers, dtype=np.int64), soon)
    assert taken.rows.tolist() == numbers
    assert taken.fixed["x"].tolist() == [[n] * 4 for n in numbers]
    assert taken.ragged["key"] == [str(n) for n in numbers]
    assert [row.tolist() for row in taken.ragged["tokens"]] == [[n] * (n % 3) for n in numbers]


takes = st.tuples(st.lists(st.integers(0, ROWS - 1), max_size=60), st.lists(st.integers(0, 5), max_size=4))


@given(st.lists(takes, max_size=5), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_any_rows_with_any_room(dataset: Dataset, takes: list, slots: int, readers: int) -> None:
    groups = RowGroups(dataset, "train")
    assert len(groups) > 8
    reader = RowReader(groups, slots, readers)
    for numbers, soon in takes:
        check(reader, numbers, soon)


@pytest.mark.parametrize("readers", [1, 3])
def test_after_an_error_the_same_reader_reads_right(
    dataset: Dataset, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = RowReader(RowGroups(dataset, "train"), 6, readers)
    decode = RowGroups.decode

    def unsteady(groups: RowGroups, group: int) -> dict:
        if group == 3:
            raise StorageError("the network is away")
        return decode(groups, group)

    with monkeypatch.context() as patch:
        patch.setattr(RowGroups, "decode", unsteady)
        with pytest.raises(StorageError, match="the network is away"):
            check(reader, list(range(ROWS)), [])
    check(reader, list(range(ROWS)), [])


def test_threads_share_the_items_and_end() -> None:
    done: list[int] = []
    together = threading.Barrier(3, timeout=10)

    def act(item: int) -> None:
        if item < 3:
            together.wait()
        done.append(item)

    before = threading.active_count()
    in_threads(act, range(50), threads=3)
    assert sorted(done) == list(range(50))
    assert threading.active_count() == before


def test_the_first_error_of_a_thread_ends_all() -> None:
    done: list[int] = []

    def act(item: int) -> None:
        if item == 5:
            raise RuntimeError("five")
        done.append(item)

    with pytest.raises(RuntimeError, match="five"):
        in_threads(act, range(10_000), threads=2)
    assert len(done) < 9_999
