"""Evaluation while training, and what ends a training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gang import Training, train
from learners import FEW_ROWS, TEST_ROWS, Linear, Noisy, Tokens
from oracle import read
from torchmetrics import MeanMetric, MinMaxMetric, RunningMean

from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.sync import AllReduce, Averaging
from echelon.train.config import RunConfig
from echelon.train.metrics import compute_merged, states_to_bytes

CONFIG = RunConfig(epochs=2, batch_size=24, lanes=8, seed=3, eval_batch_size=10, checkpoint_every="off")


@pytest.mark.parametrize(("split", "rows"), [("test", TEST_ROWS), ("few", FEW_ROWS)])
def test_every_row_is_evaluated_once_and_counts_are_merged(
    tmp_path: Path, dataset: Dataset, split: str, rows: int
) -> None:
    """57 rows on three workers, ten at a time; and fewer rows than workers."""
    config = replace(CONFIG, eval_split=split)
    training = train(tmp_path, dataset, Noisy(), config, AllReduce(), 3, (5.0, 2.0, 1.0))
    model, table = Noisy().model(), read(dataset, split)
    model.load_state_dict(training.tensors())
    right = int((model.eval()(table.x).argmax(1) == table.label).sum())
    metrics = training.events("evaluate")[-1]["metrics"]
    assert metrics["rows"] == rows
    assert metrics["accuracy"] == pytest.approx(right / rows, abs=1e-7)
    assert [event["step"] for event in training.events("evaluate")] == [9, 18]


def test_a_learner_without_metrics_is_evaluated_by_its_loss(tmp_path: Path, dataset: Dataset) -> None:
    training = train(tmp_path, dataset, Tokens(), CONFIG, Averaging(5))
    model, table = Tokens().model(), read(dataset, "test")
    model.load_state_dict(training.tensors())
    with torch.no_grad():
        total, weight = Tokens().loss(model.eval(), table.batch(range(TEST_ROWS)))
    assert training.events("evaluate")[-1]["metrics"]["loss"] == pytest.approx(float(total / weight), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "learner", "reason", "steps"),
    [
        ({"max_steps": 7}, Linear(), "did 7 steps", [7]),
        ({"epochs": 1}, Linear(), "did 1 epoch", [9]),
        ({"max_seconds": 1}, Linear(seconds=0.1), "trained for 1 s", range(1, 12)),
        ({"target": "mse<=2", "eval_every": "1step"}, Linear(lr=0.025), "reached the target mse<=2", range(2, 18)),
        ({"patience": 2, "monitor": "rows", "eval_every": "2steps"}, Linear(),
         "rows was not better for 2 evaluations", [6]),
    ],
    ids=["steps", "epochs", "seconds", "target", "patience"],
)  # fmt: skip
def test_what_ends_a_training(
    tmp_path: Path, dataset: Dataset, changes: dict, learner: Linear, reason: str, steps: range | list[int]
) -> None:
    training = Training(tmp_path, dataset, learner, replace(CONFIG, **changes))
    progress = training.finish(2)
    assert progress.stopped_by == reason
    assert training.events("stop")[-1]["reason"] == reason
    assert progress.step in steps
    assert training.checkpoint.step == progress.step
    assert training.finish(2).step == progress.step, "a finished training does not go on"


def test_averaging_ends_at_the_first_boundary_after_its_time(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, Linear(seconds=0.02), replace(CONFIG, max_seconds=0.05), Averaging(4))
    assert training.finish(2).step == 4


def test_a_loss_that_is_not_finite_ends_it_with_advice(tmp_path: Path, dataset: Dataset) -> None:
    outcomes = Training(tmp_path, dataset, Linear(lr=1e30), CONFIG).start(2)
    assert [outcome.error for outcome in outcomes] == ["EchelonError"] * 2
    assert "try a lower learning rate" in outcomes[0].message


def test_metrics_that_cannot_be_merged_are_refused() -> None:
    for metric in (MinMaxMetric(MeanMetric()), RunningMean(3)):
        metric.update(torch.tensor(1.0))
        with pytest.raises(EchelonError, match=r"'odd'.*has no states of its own"):
            compute_merged({"odd": metric}, [states_to_bytes({"odd": metric})])


@pytest.mark.parametrize(
    ("stopped", "then"),
    [
        ({"target": "mse<=1000", "eval_every": "2steps"}, {"target": None}),
        ({"target": "mse<=1000", "eval_every": "2steps"}, {"target": "mse<=0"}),
        ({"patience": 1, "monitor": "rows", "eval_every": "2steps"}, {"patience": 100}),
    ],
    ids=["no target", "another target", "more patience"],
)
def test_what_ended_by_its_metrics_goes_on_with_other_wishes(
    tmp_path: Path, dataset: Dataset, stopped: dict, then: dict
) -> None:
    config = replace(CONFIG, **stopped)
    training = Training(tmp_path, dataset, Linear(), config)
    assert training.finish(2).step in (2, 4)
    training.job = replace(training.job, config=replace(config, **then))
    progress = training.finish(2)
    assert (progress.step, progress.stopped_by) == (18, "did 2 epochs")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "acuracy>=0.9"}, "'acuracy' is not evaluated; there are: mse, rows"),
        ({"patience": 3, "monitor": "mae"}, "'mae' is not evaluated; there are: mse, rows"),
    ],
    ids=["target", "monitor"],
)
def test_a_metric_that_there_is_not_is_refused_before_the_first_step(
    tmp_path: Path, dataset: Dataset, changes: dict, said: str
) -> None:
    training = Training(tmp_path, dataset, Linear(), replace(CONFIG, **changes))
    [outcome] = training.start(1)
    assert outcome.error == "EchelonError"
    assert said in outcome.message
    assert training.steps() == []


def test_evaluations_by_the_clock_are_not_lost_beside_checkpoints(tmp_path: Path, dataset: Dataset) -> None:
    """Rank 0 decides before the backward pass, and a checkpoint counts that pass, in which a second may end."""
    config = replace(CONFIG, max_steps=12, eval_every="1s", checkpoint_every="1step")
    training = train(tmp_path, dataset, Linear(backward_seconds=0.35), config, AllReduce())
    steps = [event["step"] for event in training.events("evaluate")]
    assert len(steps) >= 4, "12 steps take more than four seconds"
    assert max(np.diff(steps)) <= 4


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads of a process are read from /proc")
def test_no_thread_of_gloo_is_left_after_the_training(tmp_path: Path, dataset: Dataset) -> None:
    """One that holds a tensor at the end of the interpreter aborts the process."""
    train(tmp_path, dataset, Linear(), CONFIG, AllReduce())
    for rank in (0, 1):
        threads = json.loads((tmp_path / "attempt-1" / f"outcome-{rank}.json").read_text())["threads"]
        assert threads, "the main thread at least"
        assert not [name for name in threads if "gloo" in name]
