"""What is promised about results: real processes against plain PyTorch on whole global batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gang import Training, train
from learners import Linear, Tokens
from mutants import NAMES
from oracle import plans, whole_batches
from series import Ended, Short, series
from strategy_table import (
    CONFIG,
    CONSTANT,
    FEW_ROWS,
    TABLE,
    UNEQUAL,
    assert_close,
    check_constancy,
    check_definition,
    constancy,
    definition,
    rounds,
)

from echelon.data.manifest import Dataset
from echelon.sync import AllReduce, Averaging
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

Series = Callable[[int, list[Short]], dict[str, Ended]]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Series:
    def run(workers: int, shorts: list[Short]) -> dict[str, Ended]:
        return series(tmp_path_factory.mktemp("series") / "series", dataset, workers, shorts)

    return run


@pytest.fixture(scope="module")
def defined(together: Series) -> dict[str, Ended]:
    return together(3, [short for name in TABLE for short in definition(name)])


@pytest.fixture(scope="module")
def constant(together: Series) -> dict[str, Ended]:
    return together(2, [short for name in CONSTANT for short in constancy(name)])


@pytest.mark.parametrize("name", TABLE)
def test_a_strategy_is_what_it_is_by_definition(name: str, dataset: Dataset, defined: dict[str, Ended]) -> None:
    """Of three workers whose shares are 5:2:1, over 18 steps: a round crosses the epochs, the last one is shorter."""
    check_definition(name, dataset, defined)


@pytest.mark.parametrize("name", CONSTANT)
def test_evaluations_checkpoints_and_kills_change_no_bit(name: str, constant: dict[str, Ended]) -> None:
    check_constancy(name, constant)


DEFINED_WRONGLY = {
    "weights removed": ("allreduce", "averaging 4", "diloco int8 overlapped"),
    "tail dropped": ("allreduce", "diloco"),
}
OVERLAPPED = ["diloco int8 overlapped"]
INCONSTANT = {
    "restored by replay": [name for name, case in CONSTANT.items() if case.keeps],
    "evaluated for good": OVERLAPPED,
    "local parameters evaluated": OVERLAPPED,
    "late result early": OVERLAPPED,
}


@pytest.fixture(scope="module")
def defined_wrongly(together: Series) -> dict[str, Ended]:
    return together(3, [s for mutant, names in DEFINED_WRONGLY.items() for n in names for s in definition(n, mutant)])


@pytest.fixture(scope="module")
def inconstant(together: Series) -> dict[str, Ended]:
    return together(2, [s for mutant, names in INCONSTANT.items() for n in names for s in constancy(n, mutant)])


@pytest.mark.parametrize(("mutant", "name"), [(m, n) for m, names in DEFINED_WRONGLY.items() for n in names])
def test_the_table_bears_no_other_definition(
    mutant: str, name: str, dataset: Dataset, defined_wrongly: dict[str, Ended]
) -> None:
    with pytest.raises(AssertionError):
        check_definition(name, dataset, defined_wrongly, mutant)


@pytest.mark.parametrize(("mutant", "name"), [(m, n) for m, names in INCONSTANT.items() for n in names])
def test_the_table_bears_no_inconstancy(mutant: str, name: str, inconstant: dict[str, Ended]) -> None:
    with pytest.raises(AssertionError):
        check_constancy(name, inconstant, mutant)


def test_each_mutant_is_tried() -> None:
    assert {*DEFINED_WRONGLY, *INCONSTANT} == set(NAMES)


def assert_every_row_once_an_epoch(training: Training) -> None:
    expected = [sorted(plan.read(range(plan.lanes), k, k + 1).rows.tolist()) for plan, k in
                plans(training.dataset, training.job.config)]  # fmt: skip
    assert [sorted(step.rows) for step in training.steps()] == expected


@pytest.mark.parametrize(("workers", "weights"), [(1, None), (2, None), (3, UNEQUAL)], ids=["1", "2", "5:2:1"])
def test_allreduce_is_one_process_on_the_global_batch(
    tmp_path: Path, dataset: Dataset, workers: int, weights: tuple[float, ...] | None
) -> None:
    learner = Linear(momentum=0.9, decay=0.1)
    training = train(tmp_path, dataset, learner, CONFIG, AllReduce(), workers, weights)
    assert_close(training.tensors(), whole_batches(learner, dataset, training.job.config), 2e-5)
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


@pytest.mark.parametrize("learner", [Linear(momentum=0.9, decay=0.1), Tokens()], ids=["momentum, schedule", "tokens"])
def test_averaging_clips_locally(tmp_path: Path, dataset: Dataset, learner: Learner) -> None:
    training = train(tmp_path, dataset, learner, replace(CONFIG, clip_norm=0.3), Averaging(4), 3, UNEQUAL)
    assert_close(training.tensors(), rounds(4)(learner, dataset, training.job.config), 1e-4)
    assert_every_row_once_an_epoch(training)
