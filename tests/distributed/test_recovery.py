"""Killed workers: survivors say so at once, and a resumed training comes to the same weights, bit by bit."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from gang import Training, train
from learners import TRAIN_ROWS, Linear, Noisy
from rank import BACKWARD, CHECKPOINT, COLLECTIVE, COMMIT, EVALUATION, Kill
from strategy_table import assert_same

from echelon.data.manifest import Dataset
from echelon.sync import AllReduce, Averaging, DiLoCo, Strategy
from echelon.train.config import RunConfig

INTERVAL = 4
LEARNER = Noisy(seconds=0.01)
CONFIG = RunConfig(
    epochs=2, batch_size=24, lanes=8, seed=5, eval_every="3steps", eval_batch_size=10,
    checkpoint_every=f"{INTERVAL}steps", keep_checkpoints=3, step_deadline=20,
)  # fmt: skip
ANYWHERE = (
    Kill(1, BACKWARD, step=3),  # before the first checkpoint: all over again
    Kill(1, COLLECTIVE, step=7, after=4),
    Kill(0, BACKWARD, step=10, after=8),
    Kill(0, CHECKPOINT, step=12),
    Kill(1, EVALUATION, step=12, after=8),
    Kill(0, COMMIT, step=16),
    Kill(0, COLLECTIVE, step=18, after=16),
)


LOCAL = (ANYWHERE[2], Kill(1, CHECKPOINT, step=12), Kill(0, EVALUATION, step=17))


@pytest.mark.parametrize(
    ("strategy", "kills"),
    [
        (AllReduce(), ANYWHERE),
        pytest.param(Averaging(2), LOCAL, marks=pytest.mark.slow),
        (DiLoCo(2, exchange="int8", overlap=True), LOCAL),
    ],
    ids=["allreduce", "averaging", "diloco"],
)
def test_kills_and_resumes_change_no_bit(
    tmp_path: Path, dataset: Dataset, strategy: Strategy, kills: tuple[Kill, ...]
) -> None:
    expected = train(tmp_path / "whole", dataset, LEARNER, CONFIG, strategy)
    training = Training(tmp_path / "killed", dataset, LEARNER, CONFIG, strategy)
    for kill in kills:
        killed_and_survivor_agree(training, kill)
    progress = training.finish(2)
    assert_same(training.tensors(), expected.tensors())
    assert progress.rows == 2 * TRAIN_ROWS
    assert progress.metrics == expected.events("evaluate")[-1]["metrics"]
    every_row_once_an_epoch(training)


def killed_and_survivor_agree(training: Training, kill: Kill) -> None:
    outcomes = training.start(2, kill)
    killed, survivor = outcomes[kill.rank], outcomes[1 - kill.rank]
    assert killed.code == -signal.SIGKILL, (kill, training.said(training.run.newest_attempt(), kill.rank))
    assert survivor.error == "CommunicationError", (kill, survivor)
    assert survivor.seconds < training.job.config.step_deadline / 2, "a closed connection needs no deadline"
    assert "rank" in survivor.message
    assert "phase" in survivor.message
    if kill.after:
        reached = training.steps()[-1].step
        assert reached - training.checkpoint.step <= INTERVAL


def every_row_once_an_epoch(training: Training) -> None:
    """Of each global step the attempt counts that did it last; those before had its rows."""
    steps = training.steps()
    last = {step.step: step for step in steps}
    # A killed rank may not have noted its own.
    assert all(set(step.rows) <= set(last[step.step].rows) for step in steps)
    assert len(steps) > len(last)
    for epoch in (0, 1):
        rows = [row for step in last.values() if step.epoch == epoch for row in step.rows]
        assert sorted(rows) == list(range(TRAIN_ROWS))


def test_a_worker_that_hangs_is_named_when_the_deadline_passes(tmp_path: Path, dataset: Dataset) -> None:
    config = replace(CONFIG, eval_every="off", step_deadline=2)
    training = Training(tmp_path, dataset, LEARNER, config, AllReduce())
    survivor = training.start(2, Kill(1, COLLECTIVE, step=6, stop=True))[0]
    assert survivor.error == "CommunicationError", survivor
    assert "'a step' (deadline 2 s)" in survivor.message
    assert survivor.seconds < 10


def test_an_exception_of_the_learner_is_told_from_its_echo(tmp_path: Path, dataset: Dataset) -> None:
    outcomes = Training(tmp_path, dataset, Linear(fail_at=100), CONFIG).start(2)
    assert sorted(outcome.error for outcome in outcomes) == ["ArithmeticError", "CommunicationError"]
    assert all("row 100" in outcome.message for outcome in outcomes if outcome.error == "ArithmeticError")
