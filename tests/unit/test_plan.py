"""Properties of the plan: every row once, and the same global batches for every world."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.plan import EpochPlan, deal, default_lanes, steps_in_epoch


@st.composite
def plans(draw: st.DrawFn) -> EpochPlan:
    batch = draw(st.integers(1, 40))
    return EpochPlan(
        group_rows=tuple(draw(st.lists(st.integers(0, 30), min_size=1, max_size=12))),
        batch_size=batch,
        lanes=draw(st.integers(1, batch)),
        block_rows=draw(st.integers(1, 40)),
        seed=draw(st.integers(0, 2**32)),
        epoch=draw(st.integers(0, 5)),
        shuffle=draw(st.booleans()),
    )


def batches(plan: EpochPlan, shares: list[range]) -> list[list[int]]:
    """The global batches, put together from what each share gives."""
    result: list[list[int]] = [[] for _ in range(plan.steps)]
    for share in shares:
        read = plan.read(share, 0, plan.steps)
        start = 0
        for step, end in enumerate(read.ends):
            result[step] += read.rows[start:end].tolist()
            start = end
    return result


@given(plans())
@settings(max_examples=200, deadline=None)
def test_every_row_once_per_epoch(plan: EpochPlan) -> None:
    seen = [row for batch in batches(plan, [range(plan.lanes)]) for row in batch]
    assert sorted(seen) == list(range(plan.rows))


@given(plans(), st.data())
@settings(max_examples=200, deadline=None)
def test_global_batches_do_not_depend_on_the_world(plan: EpochPlan, data: st.DataObject) -> None:
    whole = batches(plan, [range(plan.lanes)])
    for size in (1, 2, 3, 4, 7):
        if size <= plan.lanes:
            weights = data.draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
            assert batches(plan, list(deal(plan.lanes, weights))) == whole


@given(plans(), st.data())
@settings(max_examples=200, deadline=None)
def test_any_step_can_be_sought(plan: EpochPlan, data: st.DataObject) -> None:
    whole = plan.read(range(plan.lanes), 0, plan.steps)
    step = data.draw(st.integers(0, plan.steps))
    rest = plan.read(range(plan.lanes), step, plan.steps)
    start = whole.ends[step - 1] if step else 0
    np.testing.assert_array_equal(rest.rows, whole.rows[start:])


@given(plans())
@settings(max_examples=200, deadline=None)
def test_steps_hold_a_batch_but_for_the_tail(plan: EpochPlan) -> None:
    sizes = [len(batch) for batch in batches(plan, [range(plan.lanes)])]
    assert all(size == plan.batch_size for size in sizes[:-1])
    assert not sizes or 0 < sizes[-1] < 1.25 * plan.batch_size


@given(plans(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_step_reads_only_the_block_it_names(plan: EpochPlan, data: st.DataObject) -> None:
    if not plan.steps:
        return
    step = data.draw(st.integers(0, plan.steps - 1))
    starts = np.cumsum((0, *plan.group_rows))
    for lane in range(plan.lanes):
        read = plan.read([lane], step, step + 1)
        if len(read.rows):
            group = np.searchsorted(starts, read.rows[0], side="right") - 1
            assert group in plan.block_groups(lane, step)


def test_epochs_differ_and_seeds_differ() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        plan = EpochPlan((50,) * 20, 32, 32, 50, seed, epoch)
        return plan.read(range(32), 0, plan.steps).rows.tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


@pytest.mark.parametrize(("batch", "lanes"), [(100, 50), (128, 64), (32, 32), (7, 7), (97, 64), (1, 1), (64, 64)])
def test_default_lanes(batch: int, lanes: int) -> None:
    assert default_lanes(batch) == lanes


@pytest.mark.parametrize(("rows", "batch", "steps"), [(0, 8, 0), (3, 8, 1), (17, 8, 2), (18, 8, 3), (16, 8, 2)])
def test_a_small_tail_joins_the_last_step(rows: int, batch: int, steps: int) -> None:
    assert steps_in_epoch(rows, batch) == steps


@given(st.integers(1, 64), st.lists(st.floats(0.01, 100), min_size=1, max_size=64))
def test_shares_cover_the_lanes_in_proportion(lanes: int, weights: list[float]) -> None:
    if len(weights) > lanes:
        with pytest.raises(ValueError, match=f"{len(weights)} workers cannot share {lanes} lanes"):
            deal(lanes, weights)
        return
    shares = deal(lanes, weights)
    assert [lane for share in shares for lane in share] == list(range(lanes))
    assert min(map(len, shares)) >= 1


def test_shares_five_to_two_to_one() -> None:
    assert [len(share) for share in deal(64, [5, 2, 1])] == [40, 16, 8]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_a_bad_weight_is_named(weight: float) -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        deal(8, [1, weight])
