"""Lanes dealt again by measured speed in real processes, one of which is slow on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gang import Training, train
from learners import TRAIN_ROWS, Linear
from oracle import plans, whole_batches
from strategy_table import assert_close

from echelon.data.manifest import Dataset
from echelon.sync import AllReduce, Averaging
from echelon.train.config import RunConfig

LANES, FACTOR = 24, 2.5
LEARNER = Linear(row_seconds=0.0004)
CONFIG = RunConfig(
    epochs=24, batch_size=96, lanes=LANES, seed=3, prefetch=2, eval_every="off", checkpoint_every="off",
    fault=f"slow:1x{FACTOR}", balance="12steps", step_deadline=20,
)  # fmt: skip
"""Two steps an epoch; a step of equal shares takes the fast worker 20 ms and the slow one 50."""
PERFECT = LANES / (1 + FACTOR)


def assert_same_batches(training: Training) -> None:
    """The global batch of every step holds the rows that it holds without balancing."""
    expected = [sorted(plan.read(range(plan.lanes), step, step + 1).rows.tolist())
                for plan, step in plans(training.dataset, training.job.config)]  # fmt: skip
    assert [sorted(step.rows) for step in training.steps()] == expected


@pytest.mark.parametrize("strategy", [AllReduce(), Averaging(4)], ids=["allreduce", "averaging"])
def test_a_slow_worker_gets_fewer_lanes(tmp_path: Path, dataset: Dataset, strategy: AllReduce | Averaging) -> None:
    training = train(tmp_path, dataset, LEARNER, CONFIG, strategy)
    events = training.events("balance")
    first, final = events[0], events[-1]
    assert first["lanes"] == [12, 12]
    assert sum(first["rows_per_step"]) == pytest.approx(TRAIN_ROWS / 2, rel=0.05)
    fast, slow = first["seconds_per_step"]
    assert 1.5 < slow / fast < 1.3 * FACTOR, "the fast one's wait for the slow one is not its own work"
    assert final["next_lanes"] == pytest.approx([LANES - PERFECT, PERFECT], abs=2)
    assert first["next_lanes"][1] < 12
    assert first["from_step"] % strategy.sync_every == 0
    assert 0 < first["from_step"] - first["step"] <= 4 * 2 + strategy.sync_every
    rows = [len(rows) for rows in training.rows_of(1)]
    assert min(rows[: first["from_step"]]) == 48
    assert rows[first["from_step"]] < 48
    assert_same_batches(training)
    if isinstance(strategy, AllReduce):
        assert_close(training.tensors(), whole_batches(LEARNER, dataset, training.job.config), 2e-4)


def test_shares_are_resumed_by_as_many_workers_and_begun_anew_by_others(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, LEARNER, replace(CONFIG, max_steps=24))
    training.finish(2)
    stored = training.checkpoint.state["progress"]["balance"]["deals"][-1]
    assert stored["counts"][1] < 12
    assert stored["step"] < 24
    training.job = replace(training.job, config=replace(CONFIG, max_steps=26))
    done = training.finish(2)
    assert len(training.rows_of(1)[24]) == pytest.approx(96 / LANES * stored["counts"][1], abs=1)
    assert done.balance.deals[-1].counts == tuple(stored["counts"])
    training.job = replace(training.job, config=replace(CONFIG, max_steps=28))
    done = training.finish(3)
    assert [deal.counts for deal in done.balance.deals] == [(8, 8, 8)]
    assert {len(training.rows_of(rank)[-2]) for rank in range(3)} <= {32, 35, 36}


def test_once_is_once_and_off_is_never(tmp_path: Path, dataset: Dataset) -> None:
    once = train(tmp_path / "once", dataset, LEARNER, replace(CONFIG, balance="once"))
    (event,) = once.events("balance")
    assert event["step"] >= 20
    assert event["next_lanes"][1] < 12
    off = train(tmp_path / "off", dataset, LEARNER, replace(CONFIG, balance="off", epochs=12, fault=None))
    assert not off.events("balance")
    assert "balance" in off.checkpoint.state["progress"]
    assert not off.checkpoint.state["progress"]["balance"]["deals"]


def test_lanes_that_are_coarse_are_said_at_the_start(tmp_path: Path, dataset: Dataset) -> None:
    config = replace(CONFIG, lanes=8, max_steps=2)
    (start,) = train(tmp_path, dataset, Linear(), config).events("start")
    assert "8 lanes for 2 workers are coarse" in start["remark"]
    assert "rehearsing slow:1x2.5" in start["remark"]
