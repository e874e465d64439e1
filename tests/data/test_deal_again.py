"""Lanes that are dealt again while batches are read ahead: the global batches stay what they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import BATCH, BEGIN, LANES, ROWS, all_of, check_values, loader_of, write_rows

from echelon.data.batch import Batch
from echelon.data.bucketing import Bucketing
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.data.plan import deal
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError

EPOCHS = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_rows(str(tmp_path_factory.mktemp("rows") / "dataset"))


def dealt(
    loaders: Sequence[Loader], begin: Position, deals: dict[int, tuple[float, ...]]
) -> tuple[list[list[Batch | None]], dict[int, int]]:
    """The batches of each global step by rank; and from which step on each deal, decided after some step, was in force.

    Every other deal waits until all threads have read ahead as far as they can.
    """
    readers, steps, found = [loader.batches(begin, EPOCHS) for loader in loaders], loaders[0].steps, []
    since: dict[int, int] = {}
    for step in range(begin.epoch * steps + begin.step, EPOCHS * steps):
        items = [next(reader) for reader in readers]
        assert {position for position, _ in items} == {Position(step // steps, step % steps)}
        found.append([batch for _, batch in items])
        if step in deals:
            time.sleep(0.1 * (len(since) % 2))
            since[step] = max(loader.horizon for loader in loaders)
            for loader, share in zip(loaders, deal(LANES, deals[step]), strict=True):
                loader.deal(since[step], share)
    for loader in loaders:
        loader.close()
    return found, since


@pytest.mark.parametrize(
    "options",
    [{"cache_mb": 64}, {"cache_mb": 0}, {"cache_mb": 0, "prefetch": 1}, {"bucketing": Bucketing(3, "tokens")}],
)
def test_global_batches_stay_when_lanes_are_dealt_again(dataset: Dataset, options: dict) -> None:
    whole = all_of(loader_of(dataset, **options), epochs=EPOCHS)
    loaders = [loader_of(dataset, share, **options) for share in deal(LANES, [1, 1, 1])]
    found, since = dealt(loaders, BEGIN, {0: (5, 2, 1), 4: (1, 1, 6), 17: (2, 1, 1)})
    assert len(found) == len(whole)
    for parts, (_, wanted) in zip(found, whole, strict=True):
        batches = [part for part in parts if part is not None]
        for batch in batches:
            check_values(batch)
        assert wanted is not None
        assert torch.cat([batch.rows for batch in batches]).equal(wanted.rows)
    newest = len(found) - loaders[0].steps
    assert max(since.values()) < newest, "the last epoch is that of the last deal"
    assert [len(part) for part in found[newest] if part is not None] == [20, 10, 10]


def test_a_deal_begins_at_its_step_and_not_before(dataset: Dataset) -> None:
    loaders = [loader_of(dataset, share, cache_mb=64) for share in deal(LANES, [1, 1])]
    found, since = dealt(loaders, BEGIN, {2: (3, 1)})
    rows = [len(parts[0]) for parts in found if parts[0] is not None]
    assert max(rows[: since[2]]) == BATCH // 2
    assert rows[since[2]] == BATCH * 3 // 4
    assert 3 < since[2] <= 3 + 4 * 8, "within a few prefetch depths"


def test_a_resumed_loader_takes_deals_before_it_begins(dataset: Dataset) -> None:
    """Those of the past, and the next one that was decided but not yet in force."""
    whole = all_of(loader_of(dataset), epochs=EPOCHS)
    loaders = [loader_of(dataset, share) for share in deal(LANES, [1, 1])]
    for step, weights in ((0, (5, 3)), (20, (1, 3))):
        for loader, share in zip(loaders, deal(LANES, weights), strict=True):
            loader.deal(step, share)
    found, _ = dealt(loaders, Position(1, 3), {})
    begin = loaders[0].steps + 3
    for parts, (_, wanted) in zip(found, whole[begin:], strict=True):
        assert wanted is not None
        assert torch.cat([part.rows for part in parts if part is not None]).equal(wanted.rows)
    assert [len(found[step - begin][0] or ()) for step in (begin, 19, 20)] == [25, 25, 10]


def test_what_is_read_ahead_cannot_be_dealt_again(dataset: Dataset) -> None:
    loader = loader_of(dataset, range(4))
    batches = loader.batches(BEGIN, 1)
    next(batches)
    with pytest.raises(ValueError, match=f"from step {loader.horizon} on, got {loader.horizon - 1}"):
        loader.deal(loader.horizon - 1, range(5))
    with pytest.raises(ValueError, match="the lanes 8 are not among the 8"):
        loader.deal(loader.horizon, range(5, 9))
    loader.close()


def test_the_largest_share_is_what_the_budget_allows(tmp_path: Path) -> None:
    schema = Schema((Column("x", "uint8", (4096,)),))
    dataset = write_dataset(str(tmp_path / "rows"), schema, {"train": [{"x": np.zeros((4096, 4096), np.uint8)}]},
                            row_group_mb=0.5)  # fmt: skip
    assert loader_of(dataset, [0], budget_mb=64).most_lanes == LANES
    loader = loader_of(dataset, [0], budget_mb=12)
    most = loader.most_lanes
    assert 1 < most < LANES
    loader.deal(0, range(most))
    with pytest.raises(DataError, match="more than the budget"):
        loader.deal(0, range(most + 1))


def test_every_row_once_whatever_is_dealt(dataset: Dataset) -> None:
    loaders = [loader_of(dataset, share, prefetch=2) for share in deal(LANES, [1, 1])]
    found, since = dealt(loaders, BEGIN, {step: (1 + step % 3, 1 + step % 5) for step in range(0, 30, 7)})
    assert len(since) == 5
    seen = [n for parts in found for part in parts if part is not None for n in part["label"].tolist()]
    assert sorted(seen) == sorted(list(range(ROWS)) * EPOCHS)
