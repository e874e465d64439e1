"""The loader: every row once, the same global batches for every world, and any position restored exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import BEGIN, LANES, ROWS, SCHEMA, all_of, check_values, loader_of, rows_of, write_rows

from echelon.data.batch import Batch
from echelon.data.bucketing import Bucketing
from echelon.data.groups import RowGroups
from echelon.data.loader import Position
from echelon.data.manifest import Dataset
from echelon.data.plan import deal
from echelon.data.read import RowReader
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError

BUCKETS = Bucketing(steps=4, column="tokens")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_rows(str(tmp_path_factory.mktemp("rows") / "dataset"))


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


@pytest.mark.parametrize(
    "options",
    [{"cache_mb": 64}, {"cache_mb": 0}, {"cache_mb": 0, "readers": 3, "prefetch": 1}, {"bucketing": BUCKETS}],
)
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


@pytest.mark.parametrize(
    "options", [{"cache_mb": 64}, {"cache_mb": 0}, {"share": [5], "batch_size": 16}, {"bucketing": BUCKETS}]
)
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


@pytest.mark.parametrize("bucketing", [None, BUCKETS], ids=["any lengths", "buckets"])
@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1], [1] * 4, [1] * 7, [5, 2, 1], [1, 3]])
def test_global_batches_do_not_depend_on_the_world(
    dataset: Dataset, weights: list[float], bucketing: Bucketing | None
) -> None:
    whole = all_of(loader_of(dataset, bucketing=bucketing))
    worlds = [all_of(loader_of(dataset, share, bucketing=bucketing)) for share in deal(LANES, weights)]
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


def test_reading_from_an_object_store(s3: str) -> None:
    rows = rows_of(np.arange(ROWS))
    dataset = write_dataset(f"{s3}/loader/dataset", SCHEMA, {"train": [rows]}, row_group_mb=0.004)
    batches = [batch for _, batch in all_of(loader_of(dataset, readers=4)) if batch is not None]
    assert sorted(n for batch in batches for n in batch["label"].tolist()) == list(range(ROWS))
    for batch in batches:
        check_values(batch)
