"""Trainings with torch.compile against the same without it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gang import Training, train
from learners import Linear, Noisy, Tokens
from strategy_table import CONFIG, FEW_ROWS, UNEQUAL
from torch import Tensor

from echelon.data.manifest import Dataset
from echelon.errors import EchelonError
from echelon.sync import AllReduce, Averaging
from echelon.sync.protocol import Strategy
from echelon.train.compiled import require_compiler
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.worker import train_worker
from echelon.world import CPU, World, threads

EVALUATED = replace(CONFIG, eval_every="3steps")

with_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler on this machine"
)


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Kernels add up in another order."""
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)


@pytest.mark.slow
@with_compiler
@pytest.mark.parametrize(
    ("learner", "strategy", "config", "workers", "weights"),
    [
        (Tokens(), AllReduce(), CONFIG, 2, None),
        (Noisy(dropout=0), AllReduce(), EVALUATED, 2, None),
        (Noisy(dropout=0), Averaging(3), CONFIG, 2, None),
        (Linear(momentum=0.9), AllReduce(), replace(FEW_ROWS, microbatch=2), 3, UNEQUAL),
    ],
    ids=["lengths that vary", "BatchNorm and evaluation", "averaging", "microbatches and a rank without rows"],
)
def test_compiled_training_comes_to_the_same(
    tmp_path: Path, dataset: Dataset, learner: Learner, strategy: Strategy, config: RunConfig, workers: int,
    weights: tuple[float, ...] | None,
) -> None:  # fmt: skip
    plain = train(tmp_path / "plain", dataset, learner, config, strategy, workers, weights)
    compiled = train(tmp_path / "c", dataset, learner, replace(config, compile=True), strategy, workers, weights)
    assert_near(compiled.tensors(), plain.tensors())
    assert compiled.run.results.get("metrics") == plain.run.results.get("metrics")


@pytest.mark.slow
@with_compiler
@pytest.mark.parametrize("first", [False, True], ids=["plain, then compiled", "compiled, then plain"])
def test_a_run_goes_on_with_and_without_it(tmp_path: Path, dataset: Dataset, first: bool) -> None:
    config = replace(CONFIG, compile=first, max_steps=7).resolved(1)
    training = Training(tmp_path / "parts", dataset, Noisy(dropout=0), config)
    training.finish(1)
    training.job = replace(training.job, config=replace(config, compile=not first, max_steps=None))
    assert training.finish(1).step > 7
    assert_near(training.tensors(), train(tmp_path / "whole", dataset, Noisy(dropout=0), CONFIG, workers=1).tensors())


@pytest.mark.slow
@with_compiler
@pytest.mark.parametrize(("learner", "graphs"), [(Noisy(dropout=0), 1), (Tokens(), 2)], ids=["rows", "lengths"])
def test_steps_are_compiled_once_for_any_rows_and_evaluations_never(
    tmp_path: Path, dataset: Dataset, learner: Learner, graphs: int
) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    with threads(1):  # as in training, which then finds it compiled
        require_compiler(CPU)
    counters.clear()
    training = Training(tmp_path, dataset, learner, replace(EVALUATED, compile=True).resolved(1))
    training.run.start_attempt()
    train_worker(World(), None, training.job)
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_missing_compiler_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with (
        config.patch({"cpp.cxx": (None, "/nowhere/g++")}),
        pytest.raises(EchelonError, match=r"--compile does not work on .*/nowhere/g\+\+.*or leave --compile out"),
    ):
        require_compiler(CPU)
