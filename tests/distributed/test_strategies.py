"""What is promised about results: real processes against plain PyTorch on whole global batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gang import Training, train
from learners import Linear, Noisy, Tokens
from oracle import averaged, plans, whole_batches
from torch import Tensor, nn

from echelon.data.manifest import Dataset
from echelon.data.plan import deal
from echelon.sync import AllReduce, Averaging
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

CONFIG = RunConfig(epochs=2, batch_size=24, lanes=8, seed=3, eval_every="off", checkpoint_every="off")
UNEQUAL = (5.0, 2.0, 1.0)
FEW_ROWS = replace(CONFIG, batch_size=8, epochs=1)
"""Steps of 8 rows over 8 lanes, the last one of 3: the first five lanes, which the first rank holds, give none."""


def assert_close(found: dict[str, Tensor], model: nn.Module, tolerance: float = 2e-5) -> None:
    expected = model.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same(found: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Bitwise, and not because both are broken."""
    assert set(found) == set(other)
    for name, tensor in other.items():
        assert tensor.isfinite().all()
        assert torch.equal(found[name], tensor), name


def assert_every_row_once_an_epoch(training: Training) -> None:
    expected = [sorted(plan.read(range(plan.lanes), k, k + 1).rows.tolist()) for plan, k in
                plans(training.dataset, training.job.config)]  # fmt: skip
    assert [sorted(step.rows) for step in training.steps()] == expected


@pytest.mark.parametrize(("workers", "weights"), [(1, None), (2, None), (3, UNEQUAL)], ids=["1", "2", "5:2:1"])
@pytest.mark.parametrize("learner", [Linear(momentum=0.9, decay=0.1), Tokens()], ids=["rows", "tokens"])
def test_allreduce_is_one_process_on_the_global_batch(
    tmp_path: Path, dataset: Dataset, learner: Learner, workers: int, weights: tuple[float, ...] | None
) -> None:
    training = train(tmp_path, dataset, learner, CONFIG, AllReduce(), workers, weights)
    assert_close(training.tensors(), whole_batches(learner, dataset, training.job.config))
    assert_every_row_once_an_epoch(training)


@pytest.mark.parametrize(
    ("config", "tolerance"),
    [
        (replace(CONFIG, clip_norm=0.5), 2e-5),
        (replace(CONFIG, microbatch=5), 2e-5),
        (replace(CONFIG, precision="bf16"), 2e-2),
        (FEW_ROWS, 2e-5),
    ],
    ids=["clipped after the sum", "microbatches", "bf16", "a rank without rows"],
)
def test_allreduce_with_options(tmp_path: Path, dataset: Dataset, config: RunConfig, tolerance: float) -> None:
    learner = Linear(momentum=0.9)
    training = train(tmp_path, dataset, learner, config, AllReduce(), 3, UNEQUAL)
    assert_close(training.tensors(), whole_batches(learner, dataset, training.job.config), tolerance)
    if config is FEW_ROWS:
        assert [len(rows) for rows in training.rows_of(0)][-2:] == [5, 0]


def test_clipping_and_bf16_are_not_without_effect(dataset: Dataset) -> None:
    plain = whole_batches(Linear(), dataset, CONFIG).state_dict()["weight"]
    for config in (replace(CONFIG, clip_norm=0.5), replace(CONFIG, precision="bf16")):
        assert (whole_batches(Linear(), dataset, config).state_dict()["weight"] - plain).abs().max() > 1e-4


@pytest.mark.parametrize("config", [CONFIG, FEW_ROWS], ids=["rows for all", "a rank without rows"])
def test_averaging_every_step_is_allreduce(tmp_path: Path, dataset: Dataset, config: RunConfig) -> None:
    learner = Tokens()
    training = train(tmp_path, dataset, learner, config, Averaging(1), 3, UNEQUAL)
    assert_close(training.tensors(), whole_batches(learner, dataset, training.job.config))


@pytest.mark.parametrize(
    ("learner", "config"),
    [(Linear(momentum=0.9, decay=0.1), replace(CONFIG, clip_norm=2.0)), (Tokens(), CONFIG), (Noisy(dropout=0), CONFIG)],
    ids=["momentum, schedule, local clipping", "tokens", "batch norm"],
)
def test_averaging_is_the_algorithm(tmp_path: Path, dataset: Dataset, learner: Learner, config: RunConfig) -> None:
    """18 steps in rounds of 4: a round that crosses the epochs, and a shorter one at the end."""
    training = train(tmp_path, dataset, learner, config, Averaging(4), 3, UNEQUAL)
    expected = averaged(learner, dataset, training.job.config, 4, deal(8, UNEQUAL))
    assert_close(training.tensors(), expected, 1e-4)
    assert_every_row_once_an_epoch(training)


@pytest.mark.parametrize("strategy", [AllReduce(), Averaging(4)], ids=["allreduce", "averaging"])
def test_two_runs_are_bitwise_the_same_and_evaluation_changes_nothing(
    tmp_path: Path, dataset: Dataset, strategy: AllReduce | Averaging
) -> None:
    often = replace(CONFIG, eval_every="1step", eval_batch_size=10, checkpoint_every="3steps")
    first = train(tmp_path / "off", dataset, Noisy(), CONFIG, strategy).tensors()
    second = train(tmp_path / "on", dataset, Noisy(), often, strategy).tensors()
    assert_same(second, first)
    assert torch.equal(first["shift"], Noisy().model().state_dict()["shift"])  # a constant buffer stays what it is
