"""Properties of the plan: every row once, and the same global batches for every world."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.plan import PLAN_VERSION, EpochPlan, block_rows_of, deal, default_lanes, steps_in_epoch


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


@given(plans(), st.data())
@settings(max_examples=100, deadline=None)
def test_held_groups_are_those_of_the_blocks_that_the_lanes_read(plan: EpochPlan, data: st.DataObject) -> None:
    if not plan.rows:
        return
    step = data.draw(st.integers(0, plan.steps))
    share = data.draw(st.lists(st.integers(0, plan.lanes - 1), min_size=1, unique=True).map(sorted))
    held = plan.held_groups(share, step).tolist()
    assert sorted(held) == sorted({group for lane in share for group in plan.block_groups(lane, step)})
    for lane in share:
        rows = plan.read([lane], 0, plan.steps).rows
        if len(rows):
            now = min(plan.given(lane, step), len(rows) - 1)
            shift = lane * plan.block_rows // plan.lanes
            block = (np.arange(len(rows)) + shift) // plan.block_rows
            assert set(plan.block_groups(lane, step)) == set(groups_of(plan, rows[block == block[now]]))


@given(plans())
@settings(max_examples=100, deadline=None)
def test_shared_groups_are_those_of_two_neighbouring_lanes(plan: EpochPlan) -> None:
    lanes = [set(groups_of(plan, plan.read([lane], 0, plan.steps).rows)) for lane in range(plan.lanes)]
    shared = set(plan.shared_groups(range(plan.lanes)).tolist())
    for lane, groups in enumerate(lanes):
        for other in lanes[lane + 1 :]:
            assert groups & other <= shared
    assert all(sum(group in groups for groups in lanes) > 1 for group in shared)
    assert not plan.shared_groups([0]).size


def groups_of(plan: EpochPlan, rows: np.ndarray) -> list[int]:
    return (np.searchsorted(np.cumsum(plan.group_rows), rows, side="right")).tolist()


@given(plans(), st.data())
@settings(max_examples=50, deadline=None)
def test_every_lane_gives_what_the_formula_says(plan: EpochPlan, data: st.DataObject) -> None:
    lane, step = data.draw(st.integers(0, plan.lanes - 1)), data.draw(st.integers(0, plan.steps))
    assert len(plan.read([lane], 0, step).rows) == plan.given(lane, step)
    assert len(plan.read([lane], 0, plan.steps).rows) == plan.lane_rows(lane)


def test_block_changes_are_spread_over_the_steps() -> None:
    """Otherwise all lanes would read their next row groups in the same step."""
    plan = EpochPlan((1000,) * 64, 64, 64, 250, 0, 0)
    blocks = np.asarray([[plan.given(lane, k) + lane * 250 // 64 for lane in range(64)] for k in range(500)]) // 250
    assert np.diff(blocks, axis=0).sum(axis=1).max() <= 2


@pytest.mark.parametrize(
    ("groups", "rows"), [((1000, 1000, 1000), 250), ((1000, 0, 3), 126), ((1,), 1), ((), 1), ((10**6,) * 3, 8192)]
)
def test_a_block_is_a_quarter_of_a_row_group(groups: tuple[int, ...], rows: int) -> None:
    assert block_rows_of(groups) == rows


def test_the_order_is_written_in_stone() -> None:
    """Runs resume under later versions, so the same seed must mean the same rows for ever, or PLAN_VERSION changes."""
    plan = EpochPlan((7, 5, 9), 6, 3, block_rows=4, seed=11, epoch=2)
    assert PLAN_VERSION == 1
    assert plan.read(range(3), 0, 2).rows.tolist() == [10, 8, 16, 15, 0, 1, 9, 7, 14, 18, 4, 2]
