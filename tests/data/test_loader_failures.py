"""What stops a loader: too little memory, damage, a storage that does not answer, a consumer that goes away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loading import BEGIN, all_of, loader_of, write_rows

from echelon.data.groups import RowGroups
from echelon.data.loader import Position
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError, StorageError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_rows(str(tmp_path_factory.mktemp("rows") / "dataset"))


def test_memory_above_the_budget_is_refused_with_the_numbers(tmp_path: Path) -> None:
    schema = Schema((Column("x", "uint8", (2**16,)),))
    rows = {"x": np.zeros((512, 2**16), np.uint8)}
    dataset = write_dataset(str(tmp_path / "d"), schema, {"train": [rows]}, row_group_mb=1)
    with pytest.raises(DataError, match=r"needs 2\d\.\d MB of memory, .* budget of 20 MB: 6 lanes hold 15 row"):
        loader_of(dataset, range(6), budget_mb=20, batch_size=8)
    assert all_of(loader_of(dataset, range(3), budget_mb=20, batch_size=8))
    assert all_of(loader_of(dataset, range(6), budget_mb=20, batch_size=8, cache_mb=32))


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_an_error_of_the_reading_thread_is_raised_where_it_belongs(tmp_path: Path) -> None:
    schema = Schema((Column("x", "uint8", (256,)),))
    rows = {"x": np.random.default_rng(0).integers(0, 256, (4096, 256), dtype=np.uint8)}
    dataset = write_dataset(str(tmp_path / "d"), schema, {"train": [rows]}, row_group_mb=0.03125, compression="none")
    (part,) = dataset.manifest.files("train")
    with open(tmp_path / "d" / part.path, "r+b") as file:
        file.seek(part.size // 2)
        file.write(b"something else")
    seen = []
    with pytest.raises(DataError, match=part.path):
        seen.extend(loader_of(dataset, lanes=1, batch_size=8).batches(BEGIN, 1))
    assert 0 < len(seen) < 4096 // 8
    assert not own_threads()


@pytest.mark.parametrize("how", ["close", "forget", "begin again"])
def test_no_thread_is_left_when_the_consumer_stops_early(dataset: Dataset, how: str) -> None:
    loader = loader_of(dataset, prefetch=2)
    batches = loader.batches(BEGIN, 1000)
    next(batches)
    assert len(own_threads()) == 1
    if how == "close":
        loader.close()
    elif how == "forget":
        del batches
    else:
        list(loader.batches(Position(0, 9), 1))
    assert not own_threads()


def test_batches_that_were_ended_by_others_do_not_pass_for_all(dataset: Dataset) -> None:
    loader = loader_of(dataset, prefetch=1)
    first = loader.batches(BEGIN, 1)
    next(first)
    second = loader.batches(BEGIN, 1)
    next(second)
    with pytest.raises(RuntimeError, match="closed or asked for other batches"):
        list(first)
    assert len(list(second)) == loader.steps - 1


@pytest.fixture
def stalling(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A storage that does not answer from when the event is cleared, until it is set."""
    answering, decode = threading.Event(), RowGroups.decode
    answering.set()

    def slow(groups: RowGroups, group: int) -> dict:
        assert answering.wait(60)
        return decode(groups, group)

    monkeypatch.setattr(RowGroups, "decode", slow)
    yield answering
    answering.set()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("readers", [1, 2])
def test_a_stalling_storage_is_an_error_and_no_hang(dataset: Dataset, stalling: threading.Event, readers: int) -> None:
    loader = loader_of(dataset, prefetch=1, deadline=0.3, readers=readers)
    batches = loader.batches(BEGIN, 1)
    next(batches)
    stalling.clear()
    with pytest.raises(StorageError, match=r"reading batches of 'train' of .*: nothing came within 0\.3 s"):
        list(batches)
    with pytest.raises(StorageError, match="the thread before does not end"):
        next(loader.batches(BEGIN, 1))
    assert loader.seconds_waiting >= 0.3
    loader.close()
    stalling.set()
    for thread in threading.enumerate():
        if thread.name.startswith("reading"):
            thread.join(10)
    assert len(all_of(loader)) == loader.steps
