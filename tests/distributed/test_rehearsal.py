"""Failures on purpose come where they are asked for, and the next attempt goes through."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

from gang import Training
from learners import Linear
from oracle import whole_batches
from strategy_table import assert_close

from echelon.data.manifest import Dataset
from echelon.train.config import RunConfig

CONFIG = RunConfig(
    epochs=2, batch_size=24, lanes=8, seed=3, eval_every="off", checkpoint_every="1steps", first_step_deadline=30,
    step_deadline=2,
)  # fmt: skip


def test_a_killed_worker_and_the_recovery(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, Linear(), replace(CONFIG, fault="kill:1@5"))
    other, killed = training.start(2)
    assert killed.code == -signal.SIGKILL
    assert other.error == "CommunicationError"
    assert max(step.step for step in training.steps()) == 4 or len(training.rows_of(1)) == 4
    training.finish(2)
    assert_close(training.tensors(), whole_batches(Linear(), dataset, training.job.config))


def test_a_worker_that_hangs_is_given_up_in_time(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, Linear(), replace(CONFIG, fault="hang:1@5"))
    other, _ = training.start(2, hanging=1)
    assert other.error == "CommunicationError"
    assert "deadline 2 s" in other.message
    assert other.seconds < 20


def test_a_worker_that_fails_says_so(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, Linear(), replace(CONFIG, fault="fail:0@2"))
    failed, _ = training.start(2)
    assert failed.error == "RehearsedError"
    assert "--fault fail:0@2" in failed.message
