"""Dealing lanes by measured speed: best and bounded shares, few moves, no flapping, and words where nothing helps."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.plan import deal
from echelon.train.balance import LEAST_KEPT, MEMORY, Balance, Deal, judge, too_coarse
from echelon.train.cost import Cost, fit, perfect_seconds, relative_error
from echelon.train.pace import Pace
from echelon.train.split import Bounds, fastest_counts, fewest_moves, moved, slowest, within

LANES, BATCH = 64, 128


def compositions(lanes: int, ranks: int) -> Iterator[tuple[int, ...]]:
    """Every way to deal so many lanes, none of a rank left out."""
    for cuts in itertools.combinations(range(1, lanes), ranks - 1):
        ends = [0, *cuts, lanes]
        yield tuple(b - a for a, b in itertools.pairwise(ends))


costs = st.builds(Cost, st.floats(0, 2), st.floats(0.001, 1))


@st.composite
def bounded(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Bounds]]:
    """A deal of some lanes, and bounds that it keeps."""
    now = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return tuple(now), [Bounds(draw(st.integers(1, held)), draw(st.integers(held, 12))) for held in now]


@given(bounded(), st.data())
@settings(max_examples=150, deadline=None)
def test_no_other_counts_are_faster(given_: tuple[tuple[int, ...], list[Bounds]], data: st.DataObject) -> None:
    now, bounds = given_
    priced = data.draw(st.lists(costs, min_size=len(now), max_size=len(now)))
    counts = fastest_counts(priced, sum(now), 2.0, bounds)
    assert sum(counts) == sum(now)
    assert keeps(counts, bounds)
    best = min(slowest(priced, c, 2.0) for c in compositions(sum(now), len(now)) if keeps(c, bounds))
    assert slowest(priced, counts, 2.0) == pytest.approx(best)
    narrowed = within(priced, best, 2.0, bounds)
    assert [b for b, c in zip(narrowed, counts, strict=True) if not b.least <= c <= b.most] == []


def keeps(counts: Sequence[int], bounds: Sequence[Bounds]) -> bool:
    return all(bound.least <= count <= bound.most for count, bound in zip(counts, bounds, strict=True))


@given(bounded())
@settings(max_examples=150, deadline=None)
def test_no_other_counts_move_fewer_lanes(given_: tuple[tuple[int, ...], list[Bounds]]) -> None:
    held, bounds = given_
    now = held[::-1]
    counts = fewest_moves(now, bounds)
    assert sum(counts) == sum(now)
    assert keeps(counts, bounds)
    allowed = [c for c in compositions(sum(now), len(now)) if keeps(c, bounds)]
    assert moved(now, counts) == min(moved(now, c) for c in allowed)


def test_moves_are_lanes_with_another_worker() -> None:
    assert moved((4, 4, 4), (4, 4, 4)) == 0
    assert moved((4, 4, 4), (5, 3, 4)) == 1
    assert moved((4, 4, 4), (6, 4, 2)) == 4  # two lanes pass through the middle


def test_bounds_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="9 lanes cannot be dealt"):
        fewest_moves((5, 4), [Bounds(1, 4), Bounds(1, 4)])
    with pytest.raises(ValueError, match="9 lanes cannot be dealt"):
        fastest_counts([Cost(0, 1)] * 2, 9, 1.0, [Bounds(1, 4), Bounds(1, 4)])


@given(costs, st.lists(st.floats(20, 80), min_size=2, max_size=2))
def test_a_line_is_found_from_two_numbers_of_rows(cost: Cost, rows: list[float]) -> None:
    if max(rows) < 1.5 * min(rows):
        return
    found = fit([Pace(r, cost.seconds(r)) for r in rows])
    for r in (min(rows), max(rows)):
        assert found.seconds(r) == pytest.approx(cost.seconds(r), rel=0.06)


@given(st.lists(st.builds(Pace, st.floats(0, 100), st.floats(0, 10)), min_size=1, max_size=MEMORY))
def test_no_cost_is_negative(paces: list[Pace]) -> None:
    found = fit(paces)
    assert found.fixed >= 0
    assert found.per_row >= 0


def test_the_error_of_a_fit_is_that_of_its_mean() -> None:
    rng = np.random.default_rng(0)
    fits = [fit([Pace(50, 1 + 0.1 * e, 0.1) for e in rng.standard_normal(4)]).seconds(50) for _ in range(2000)]
    assert relative_error([Pace(50, 1.0, 0.1)] * 4) == pytest.approx(np.std(fits), rel=0.1)


def test_one_number_of_rows_says_nothing_of_the_fixed_time() -> None:
    found = fit([Pace(50, 1.0), Pace(50, 1.2)])
    assert found.fixed == pytest.approx(0, abs=1e-9)
    assert found.seconds(50) == pytest.approx((1.0 + 2 * 1.2) / 3)


@given(st.lists(costs, min_size=1, max_size=6), st.floats(1, 500))
def test_the_perfect_split_does_all_rows_at_once(priced: list[Cost], rows: float) -> None:
    seconds = perfect_seconds(priced, rows)
    assert sum(cost.rows_in(seconds * (1 + 1e-9)) for cost in priced) >= rows * (1 - 1e-9)
    assert seconds >= max(cost.fixed for cost in priced)
    if seconds > max(cost.fixed for cost in priced) * (1 + 1e-6):
        assert sum(cost.rows_in(seconds * (1 - 1e-6)) for cost in priced) < rows


class Workers:
    """Workers of known costs, measured and dealt to again and again."""

    def __init__(self, priced: Sequence[Cost], noise: float = 0.0, seed: int = 0) -> None:
        self.costs, self.noise, self._rng = list(priced), noise, np.random.default_rng(seed)
        equal = tuple(len(share) for share in deal(LANES, [1.0] * len(priced)))
        self.balance = Balance((Deal(0, equal),))
        self.most = [LANES] * len(priced)
        self.remark = ""

    @property
    def counts(self) -> tuple[int, ...]:
        return self.balance.newest.counts

    @property
    def seconds(self) -> float:
        return slowest(self.costs, self.counts, BATCH / LANES)

    def measure(self) -> bool:
        """One measurement; whether lanes were dealt again."""
        rows = [count * BATCH / LANES for count in self.counts]
        factors = 1 + self.noise * self._rng.standard_normal(len(rows))
        self.balance = self.balance.with_paces(
            [Pace(r, c.seconds(r) * f, self.noise) for r, c, f in zip(rows, self.costs, factors, strict=True)]
        )
        verdict = judge(self.balance, BATCH, self.most)
        self.remark = verdict.remark
        if verdict.counts is None:
            return False
        assert sum(verdict.counts) == LANES
        for before, after, most in zip(self.counts, verdict.counts, self.most, strict=True):
            assert before / LEAST_KEPT <= after <= max(before, most)
        self.balance = self.balance.with_deal(Deal(0, verdict.counts), 0)
        return True


@given(st.lists(st.builds(Cost, st.floats(0, 0.5), st.floats(0.01, 0.05)), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_shares_come_to_the_best_ones_and_stay(priced: list[Cost]) -> None:
    """Nearly: a gain of less than the deadband is left, by what is known of the costs; a lane is 8 % of a step here."""
    workers = Workers(priced)
    for _ in range(8):
        workers.measure()
    free = [Bounds(1, LANES)] * len(priced)
    best = slowest(priced, fastest_counts(priced, LANES, BATCH / LANES, free), BATCH / LANES)
    assert workers.seconds <= 1.1 * best
    assert not workers.measure()


@pytest.mark.parametrize(("speeds", "counts"), [((1, 0.56), (41, 23)), ((1, 1, 0.56), (25, 25, 14))])
def test_unequal_workers_get_the_perfect_split_at_once(speeds: tuple[float, ...], counts: tuple[int, ...]) -> None:
    workers = Workers([Cost(0, 0.01 / speed) for speed in speeds])
    assert workers.measure()
    assert workers.counts == pytest.approx(counts, abs=1)
    assert not workers.measure()


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_moves_no_lanes(noise: float) -> None:
    changes = 0
    for seed in range(20):
        workers = Workers([Cost(0.1, 0.01)] * 3, noise, seed)
        changes += sum(workers.measure() for _ in range(20))
    assert changes <= 20, "in 400 measurements of equal workers"


def test_noise_does_not_hide_a_slow_worker() -> None:
    workers = Workers([Cost(0.05, 0.01), Cost(0.05, 0.01), Cost(0.1, 0.02)], noise=0.03)
    equal = workers.seconds
    for _ in range(8):
        workers.measure()
    assert workers.seconds < 0.8 * equal


def test_a_worker_that_changes_its_speed_is_followed() -> None:
    workers = Workers([Cost(0, 0.01), Cost(0, 0.02)])
    for _ in range(4):
        workers.measure()
    assert workers.counts[0] > 1.8 * workers.counts[1]
    workers.costs.reverse()
    for _ in range(8):
        workers.measure()
    assert workers.counts[1] > 1.8 * workers.counts[0]


def test_memory_bounds_a_share_and_is_named() -> None:
    workers = Workers([Cost(0, 0.01), Cost(0, 0.04)])
    workers.most = [36, 64]
    for _ in range(3):
        workers.measure()
    assert workers.counts == (36, 28)
    assert "workers 0 have no memory for more lanes" in workers.remark


def test_a_fixed_time_that_no_share_can_help_is_named() -> None:
    workers = Workers([Cost(0.1, 0.001), Cost(1.0, 0.001)])
    for _ in range(6):
        workers.measure()
    assert re.match(r"no share can help: worker 1 takes 0\.9\d+ s of its 1\.0\d s", workers.remark)


def test_lanes_that_are_too_coarse_are_named() -> None:
    paces = [Pace(1, 1.0), Pace(1, 2.0)]
    verdict = judge(Balance((Deal(0, (1, 1)),)).with_paces(paces), 2, [2, 2])
    assert verdict.counts is None
    assert "2 lanes are too coarse: one of worker 1 takes 2 s of a step of 2 s" in verdict.remark
    assert "8 lanes for 3 workers are coarse: shares can change only by 38 %" in too_coarse(8, 3)
    assert not too_coarse(64, 8)


def test_measurements_that_vary_too_much_are_named() -> None:
    paces = [Pace(64, 1.0, 0.2), Pace(64, 1.5, 0.2)]
    verdict = judge(Balance((Deal(0, (32, 32)),)).with_paces(paces), BATCH, [LANES] * 2)
    assert verdict.counts is None
    assert "other lanes might save 19 % of a step, but the workers' times vary by 20 %" in verdict.remark


def test_nothing_is_said_of_workers_that_are_ready_together() -> None:
    workers = Workers([Cost(0.1, 0.01), Cost(0.1, 0.02)])
    for _ in range(6):
        workers.measure()
    assert workers.remark == ""


def test_a_balance_is_stored_as_it_is() -> None:
    balance = Balance((Deal(0, (3, 5)), Deal(24, (5, 3)))).with_paces([Pace(3, 1.5, 0.01), Pace(5, 2.5)])
    assert Balance.from_json(json.loads(json.dumps(balance.to_json()))) == balance
    assert Balance.from_json(json.loads(json.dumps(Balance().to_json()))) == Balance()


def test_only_the_deal_in_force_and_the_next_are_kept() -> None:
    balance = Balance((Deal(0, (3, 5)),)).with_deal(Deal(20, (4, 4)), 10).with_deal(Deal(50, (6, 2)), 40)
    assert balance.deals == (Deal(20, (4, 4)), Deal(50, (6, 2)))
    assert balance.newest.shares == (range(6), range(6, 8))
