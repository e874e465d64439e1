"""Rows sorted by length over some steps: less padding, and nothing else than another order within a bucket."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import BATCH, LANES, all_of, loader_of, write_rows

from echelon.data.bucketing import Bucketing
from echelon.data.loader import Loader
from echelon.data.manifest import Dataset
from echelon.data.plan import EpochPlan
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_rows(str(tmp_path_factory.mktemp("rows") / "dataset"))


@given(rows=st.integers(1, 400), batch=st.integers(1, 40), lanes=st.integers(1, 40), steps=st.integers(1, 6),
       first=st.integers(0, 40), seed=st.integers(0, 3))  # fmt: skip
def test_a_lane_gives_its_own_rows_in_the_steps_of_a_bucket_whatever_the_other_lanes(
    rows: int, batch: int, lanes: int, steps: int, first: int, seed: int
) -> None:
    plan = EpochPlan((rows,), batch, min(lanes, batch), 7, seed, epoch=1)
    bucketing = Bucketing(steps, "tokens")
    low, high = bucketing.bounds(min(first, plan.steps - 1), plan.steps)
    length_of = np.random.default_rng(seed).integers(0, 9, rows)

    def given_by(share: range) -> list[list[int]]:
        read = plan.read(share, low, high)
        order = bucketing.order(plan, plan.counts(share, low, high), length_of[read.rows], low)
        assert sorted(order.tolist()) == list(range(len(read.rows)))
        return [part.tolist() for part in np.split(read.rows[order], read.ends[:-1])]

    alone = [given_by(range(lane, lane + 1)) for lane in range(plan.lanes)]
    together = given_by(range(plan.lanes))
    assert together == [list(chain.from_iterable(lane[step] for lane in alone)) for step in range(high - low)]
    turn = np.argsort([length_of[step].mean() if step else np.inf for step in alone[0]], kind="stable")
    in_turn = [length_of[row] for step in turn for row in alone[0][step]]
    assert in_turn == sorted(in_turn)


def test_batches_have_less_padding(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(120, 301, 2000)
    schema = Schema((Column("frames", "uint8", (None, 1)),))
    rows = {"frames": [np.zeros((length, 1), np.uint8) for length in lengths]}
    dataset = write_dataset(str(tmp_path / "dataset"), schema, {"train": [rows]}, row_group_mb=0.02)

    def padding(bucketing: Bucketing | None) -> float:
        loader = Loader(dataset, "train", batch_size=40, lanes=8, seed=0, share=range(8), bucketing=bucketing)
        batches = [batch for _, batch in all_of(loader) if batch is not None]
        return sum(batch["frames"].numel() for batch in batches) / lengths.sum() - 1

    assert padding(None) > 0.35
    assert padding(Bucketing(8, "frames")) < padding(None) / 2.5


def test_long_and_short_steps_come_in_another_order_in_each_bucket(dataset: Dataset) -> None:
    bucketing = Bucketing(4, "tokens")
    items = all_of(loader_of(dataset, bucketing=bucketing), epochs=4)
    means = [batch.lengths["tokens"].double().mean().item() for _, batch in items if batch is not None]
    steps = len(means) // 4
    begins = [epoch * steps + first for epoch in range(4) for first in range(0, steps - 4, 4)]
    turns = {tuple(np.argsort(means[begin : begin + 4])) for begin in begins}
    assert len(turns) > 3


def test_a_whole_number_may_say_the_length(dataset: Dataset) -> None:
    loader = loader_of(dataset, bucketing=Bucketing(13, "label"))
    means = sorted(batch["label"].double().mean().item() for _, batch in all_of(loader) if batch is not None)
    assert means[-1] - means[0] > 300
    assert len(means) * BATCH >= 517 > LANES


@pytest.mark.parametrize("column", ["image", "key", "half"])
def test_what_has_no_length_is_refused(dataset: Dataset, column: str) -> None:
    with pytest.raises(DataError, match=f"the length of '{column}'"):
        loader_of(dataset, bucketing=Bucketing(4, column))
