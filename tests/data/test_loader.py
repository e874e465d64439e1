"""The loader: every row once, the same global batches for every world, and any position restored exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from echelon.data.batch import Batch
from echelon.data.groups import RowGroups
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.data.plan import deal
from echelon.data.read import RowReader
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError, StorageError

ROWS, BATCH, LANES, SEED = 517, 40, 8, 3
BEGIN = Position(0, 0)
SCHEMA = Schema(
    (
        Column("image", "float32", (3, 4)),
        Column("half", "float16"),
        Column("label", "int64"),
        Column("tokens", "uint16", (None,)),
        Column("frames", "int8", (None, 2)),
        Column("key", "string"),
    )
)


def rows_of(numbers: np.ndarray) -> dict:
    """Rows whose every value follows from a number of theirs, the label."""
    return {
        "image": (numbers[:, None, None] + np.arange(12).reshape(3, 4) / 16).astype(np.float32),
        "half": (numbers % 1000).astype(np.float16),
        "label": numbers,
        "tokens": [np.arange(n % 11, dtype=np.uint16) + n for n in numbers.tolist()],
        "frames": [np.full((n % 3, 2), n % 100, dtype=np.int8) for n in numbers.tolist()],
        "key": [f"row {n}" for n in numbers.tolist()],
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Some 25 row groups; their last one is smaller than the others."""
    url = str(tmp_path_factory.mktemp("rows") / "dataset")
    return write_dataset(url, SCHEMA, {"train": [rows_of(np.arange(ROWS))]}, row_group_mb=0.002)


def loader_of(dataset: Dataset, share: Sequence[int] | None = None, **changes) -> Loader:
    """A loader without a cache, of all lanes if no share is given."""
    options = {"batch_size": BATCH, "lanes": LANES, "seed": SEED, "cache_mb": 0, **changes}
    share = range(options["lanes"]) if share is None else share
    return Loader(dataset, "train", options.pop("columns", None), share=share, **options)


def all_of(loader: Loader, start: Position = BEGIN, epochs: int = 1) -> list[tuple[Position, Batch | None]]:
    items = list(loader.batches(start, epochs))
    loader.close()
    return items


def check_values(batch: Batch) -> None:
    """Every cell of a batch follows from its label, and what lies beyond the length of a row is zero."""
    wanted = rows_of(batch["label"].numpy())
    for name in ("image", "half"):
        np.testing.assert_array_equal(batch[name].numpy(), wanted[name], strict=True)
    assert batch.strings("key") == wanted["key"]
    for name in ("tokens", "frames"):
        padded, lengths = batch[name].numpy(), batch.lengths[name].tolist()
        assert padded.shape[1] == max(lengths)
        for row, length, values in zip(padded, lengths, wanted[name], strict=True):
            np.testing.assert_array_equal(row[:length], values, strict=True)
            assert not row[length:].any()


def check_same(first: Batch | None, second: Batch | None) -> None:
    if first is None or second is None:
        assert first is second
        return
    assert first.columns.keys() == second.columns.keys()
    assert first.rows.equal(second.rows)
    for name, value in first.columns.items():
        other = second.columns[name]
        assert value.equal(other) if isinstance(value, torch.Tensor) else value == other
    assert all(length.equal(second.lengths[name]) for name, length in first.lengths.items())


def check_restorable(items_from: Callable[[Position], list[tuple[Position, Batch | None]]], last: Position) -> None:
    """From every position that a reader passes, it gives the same remainder as without the interruption."""
    whole = items_from(BEGIN)
    for number, (position, _) in enumerate(whole):
        rest = items_from(position)
        assert [p for p, _ in rest] == [p for p, _ in whole[number:]]
        for (_, mine), (_, wanted) in zip(rest, whole[number:], strict=True):
            check_same(mine, wanted)
    assert not items_from(last)


@pytest.mark.parametrize("options", [{"cache_mb": 64}, {"cache_mb": 0}, {"cache_mb": 0, "readers": 3, "prefetch": 1}])
def test_every_row_once_per_epoch_with_its_own_values(dataset: Dataset, options: dict) -> None:
    loader = loader_of(dataset, **options)
    items = all_of(loader, epochs=2)
    assert [p for p, _ in items] == [Position(e, k) for e in range(2) for k in range(loader.steps)]
    orders = []
    for epoch in range(2):
        batches = [batch for position, batch in items if position.epoch == epoch and batch is not None]
        # All batches are still held here: the memory of none of them may have been used again.
        for batch in batches:
            check_values(batch)
        orders.append([n for batch in batches for n in batch.rows.tolist()])
        assert sorted(orders[epoch]) == list(range(ROWS))
        assert sorted(n for batch in batches for n in batch["label"].tolist()) == list(range(ROWS))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("options", [{"cache_mb": 64}, {"cache_mb": 0}, {"share": [5], "batch_size": 16}])
def test_every_position_can_be_restored(dataset: Dataset, options: dict) -> None:
    steps = loader_of(dataset, **options).steps
    check_restorable(lambda start: all_of(loader_of(dataset, **options), start, epochs=2), Position(1, steps))


def test_one_loader_can_begin_again_anywhere(dataset: Dataset) -> None:
    loader = loader_of(dataset)
    whole = list(loader.batches(BEGIN, 2))
    for begin in (20, 3, 11):
        rest = list(loader.batches(whole[begin][0], 2))
        for (_, mine), (_, wanted) in zip(rest, whole[begin:], strict=True):
            check_same(mine, wanted)


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1], [1] * 4, [1] * 7, [5, 2, 1], [1, 3]])
def test_global_batches_do_not_depend_on_the_world(dataset: Dataset, weights: list[float]) -> None:
    whole = all_of(loader_of(dataset))
    worlds = [all_of(loader_of(dataset, share)) for share in deal(LANES, weights)]
    for (position, wanted), *items in zip(whole, *worlds, strict=True):
        assert {p for p, _ in items} == {position}
        parts = [batch for _, batch in items if batch is not None]
        for part in parts:
            check_values(part)
        assert wanted is not None
        assert torch.cat([part.rows for part in parts]).equal(wanted.rows)
        assert torch.cat([part["image"] for part in parts]).equal(wanted["image"])


def test_another_world_continues_in_the_middle_of_an_epoch(dataset: Dataset) -> None:
    start = Position(0, 6)
    begun = [all_of(loader_of(dataset, share))[: start.step] for share in deal(LANES, [1, 1])]
    ended = [all_of(loader_of(dataset, share), start) for share in deal(LANES, [2, 1, 4])]
    seen = [n for items in [*begun, *ended] for _, batch in items if batch is not None for n in batch.rows.tolist()]
    assert sorted(seen) == list(range(ROWS))


def test_lanes_without_rows_give_none(tmp_path: Path) -> None:
    dataset = write_dataset(str(tmp_path / "d"), SCHEMA, {"train": [rows_of(np.arange(43))]})
    worlds = [all_of(loader_of(dataset, [lane], batch_size=10, lanes=10)) for lane in range(10)]
    assert {len(items) for items in worlds} == {5}
    assert sum(items[-1][1] is None for items in worlds) == 7
    assert sum(len(items[-1][1]) for items in worlds if items[-1][1] is not None) == 3


def test_some_columns_only(dataset: Dataset) -> None:
    for _, batch in all_of(loader_of(dataset, columns=("label", "key"))):
        assert batch is not None
        assert list(batch.columns) == ["label", "key"]
        assert batch.strings("key") == [f"row {n}" for n in batch["label"].tolist()]
    with pytest.raises(DataError, match=r"no column 'lable' .* image, half, label"):
        loader_of(dataset, columns=("lable",))
    with pytest.raises(DataError, match="no split 'train'"):
        loader_of(Dataset(dataset.storage, type(dataset.manifest)(SCHEMA, {"test": ()})))


def test_a_lane_that_does_not_exist_is_named(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"the lanes 8 are not among the 8 of this run"):
        loader_of(dataset, [7, 8])


def test_steps_larger_than_the_row_groups_that_find_room(dataset: Dataset) -> None:
    """One step needs every row group, and more than are held at once."""
    (_, batch), *_ = all_of(loader_of(dataset, batch_size=400, lanes=2))
    assert batch is not None
    assert len(batch) == 400
    check_values(batch)


class Reads:
    """Which row groups are decoded, and how many windows had been asked for by then."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.groups: list[int] = []
        self.first_window: list[int] = []
        self._windows = 0
        decode, take = RowGroups.decode, RowReader.take

        def counted_decode(groups: RowGroups, group: int) -> dict:
            (self.first_window if self._windows == 1 else self.groups).append(group)
            return decode(groups, group)

        def counted_take(*args, **options) -> object:
            self._windows += 1
            return take(*args, **options)

        patch.setattr(RowGroups, "decode", counted_decode)
        patch.setattr(RowReader, "take", counted_take)


@pytest.mark.parametrize("share", [range(LANES), range(2, 5)])
def test_restoring_late_reads_one_block_a_lane(dataset: Dataset, share: range, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = loader_of(dataset, share)
    start = Position(0, loader.steps * 9 // 10)
    blocks = [set(loader.order.block_groups(lane, start.step)) for lane in share]
    reads = Reads(monkeypatch)
    assert next(loader.batches(start, 1))[0] == start
    loader.close()
    assert 0 < len(reads.first_window) <= len(set().union(*blocks))
    assert max(map(len, blocks)) <= 3


def test_an_epoch_reads_each_row_group_about_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a row group that two lanes share, one at its end and one at its beginning, may be read twice."""
    reads = Reads(monkeypatch)
    groups = sum(len(file.row_groups) for file in dataset.manifest.files("train"))
    all_of(loader_of(dataset, lanes=4))
    assert groups <= len(reads.groups) + len(reads.first_window) <= groups + 3
    assert groups > 12


def entropy(labels: np.ndarray) -> float:
    shares = np.bincount(labels) / len(labels)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


@pytest.mark.parametrize(("seed", "mixed"), [(0, True), (None, False)])
def test_input_sorted_by_class_is_no_trap(tmp_path: Path, seed: int | None, mixed: bool) -> None:
    labels = np.repeat(np.arange(10), 600)
    schema = Schema((Column("label", "int64"), Column("x", "float32", (16,))))
    rows = {"label": labels, "x": np.zeros((len(labels), 16), np.float32)}
    dataset = write_dataset(str(tmp_path / "d"), schema, {"train": [rows]}, shuffle_seed=seed, row_group_mb=0.02)
    batches = [b["label"].numpy() for _, b in all_of(loader_of(dataset, batch_size=60, lanes=4)) if b is not None]
    random = np.random.default_rng(0).permutation(labels).reshape(-1, 60)
    ratio = np.mean([entropy(b) for b in batches]) / np.mean([entropy(b) for b in random])
    assert (ratio >= 0.9) == mixed


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


def test_reading_from_an_object_store(s3: str) -> None:
    rows = rows_of(np.arange(ROWS))
    dataset = write_dataset(f"{s3}/loader/dataset", SCHEMA, {"train": [rows]}, row_group_mb=0.004)
    batches = [batch for _, batch in all_of(loader_of(dataset, readers=4)) if batch is not None]
    assert sorted(n for batch in batches for n in batch["label"].tolist()) == list(range(ROWS))
    for batch in batches:
        check_values(batch)


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
