"""The table of strategies: what each one's parameters must come to, and what may not change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from learners import Linear, Noisy, Tokens
from oracle import Agreement, OuterNesterov, OverlappedNesterov, SlowMomentum, averaged, whole_batches
from series import Ended, Short
from torch import Tensor, nn

from echelon.data.manifest import Dataset
from echelon.data.plan import deal
from echelon.sync import AllReduce, Averaging, DiLoCo, Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import Learner

LANES = 8
UNEQUAL = (5.0, 2.0, 1.0)
CONFIG = RunConfig(epochs=2, batch_size=24, lanes=LANES, seed=3, eval_every="off", checkpoint_every="off")
FEW_ROWS = replace(CONFIG, batch_size=8, epochs=1)
"""Steps of 8 rows over 8 lanes, the last one of 3: the first five lanes, which the first rank holds, give none."""
OFTEN = replace(CONFIG, eval_every="3steps", eval_batch_size=30, checkpoint_every="2steps")

Oracle = Callable[[Learner, Dataset, RunConfig], nn.Module]


def rounds(every: int, agreement: Callable[[nn.Module], Agreement] = Agreement) -> Oracle:
    """Plain PyTorch with local steps on the lanes of three unequal workers."""

    def run(learner: Learner, dataset: Dataset, config: RunConfig) -> nn.Module:
        return averaged(learner, dataset, config, every, deal(LANES, UNEQUAL), agreement)

    return run


@dataclass(frozen=True)
class Case:
    """A strategy, what it is by definition, and how near it must come: the largest difference of a parameter.

    kills: boundaries at which training is killed and goes on. keeps: whether it remembers something beside model and
    optimizer, so that who forgets it comes to other parameters.
    """

    strategy: Strategy
    oracle: Oracle
    within: float = 1e-4
    learner: Learner = Tokens()  # noqa: RUF009 (frozen)
    kills: tuple[int, ...] = (4, 16)
    keeps: bool = False


NESTEROV = partial(OuterNesterov, lr=0.7, momentum=0.9)
LATE = partial(OverlappedNesterov, lr=0.7, momentum=0.9)
GENTLE = partial(OverlappedNesterov, lr=0.9, momentum=0.5)
STEPS = (2, 8)
DECAYING = Linear(momentum=0.9, decay=0.1)

TABLE: Mapping[str, Case] = {
    "allreduce": Case(AllReduce(), whole_batches, kills=STEPS),
    "allreduce, momentum": Case(AllReduce(), whole_batches, 2e-5, DECAYING, STEPS),
    "allreduce bf16": Case(AllReduce(compression="bf16"), whole_batches, 2e-2, kills=STEPS),
    "allreduce fp16": Case(AllReduce(compression="fp16"), whole_batches, 3e-3, kills=STEPS, keeps=True),
    # Its matrix has one row, which no two factors make smaller: PowerSGD sends it as it is.
    "powersgd of a row": Case(AllReduce(compression="powersgd"), whole_batches, 2e-5, DECAYING, STEPS),
    "averaging 1": Case(Averaging(1), whole_batches, kills=STEPS),
    "averaging 4": Case(Averaging(4), rounds(4)),
    "averaging 4, momentum": Case(Averaging(4), rounds(4), learner=DECAYING),
    "averaging 4, batch norm": Case(Averaging(4), rounds(4), learner=Noisy(dropout=0)),
    "slowmo": Case(
        Averaging(4, slow_momentum=0.6, slow_lr=0.8),
        rounds(4, partial(SlowMomentum, momentum=0.6, lr=0.8)), learner=DECAYING, keeps=True,
    ),
    "diloco as averaging": Case(DiLoCo(4, outer_lr=1, outer_momentum=0), rounds(4)),
    "diloco as allreduce": Case(DiLoCo(1, outer_lr=1, outer_momentum=0), whole_batches, kills=STEPS),
    "diloco": Case(DiLoCo(4), rounds(4, NESTEROV), keeps=True),
    "diloco, batch norm": Case(DiLoCo(4), rounds(4, NESTEROV), 5e-4, Noisy(dropout=0), keeps=True),
    "diloco bf16": Case(DiLoCo(4, exchange="bf16"), rounds(4, NESTEROV), 1e-2, keeps=True),
    "diloco int8": Case(DiLoCo(4, exchange="int8"), rounds(4, NESTEROV), 2e-2, keeps=True),
    "diloco overlapped": Case(DiLoCo(4, overlap=True), rounds(4, LATE), keeps=True),
    "diloco int8 overlapped": Case(
        DiLoCo(4, 0.9, 0.5, exchange="int8", overlap=True), rounds(4, GENTLE), 2e-2, keeps=True
    ),
}  # fmt: skip
WITHOUT_ROWS = ("allreduce", "powersgd of a row", "averaging 1", "slowmo", "diloco", "diloco int8 overlapped")
"""Those of which a rank without rows in a step is tried, too."""

_TRIED = ("allreduce", "allreduce fp16", "averaging 4", "slowmo", "diloco int8", "diloco overlapped")
CONSTANT: Mapping[str, Case] = {
    **{name: TABLE[name] for name in (*_TRIED, "diloco int8 overlapped")},
    # In a few steps it comes near to nothing: test_powersgd.py says what it is.
    "powersgd": Case(AllReduce(compression="powersgd", powersgd_rank=1), whole_batches, kills=STEPS, keeps=True),
}
"""Those whose constancy is tried."""


def definition(name: str, mutant: str = "") -> list[Short]:
    """On three unequal workers: rows for all, and a rank without rows in the last step."""
    case = TABLE[name]
    configs = [CONFIG, FEW_ROWS] if name in WITHOUT_ROWS and not mutant else [CONFIG]
    return [
        Short(f"{name}, {mutant} {config.batch_size}", case.learner, case.strategy, config, UNEQUAL, mutant=mutant)
        for config in configs
    ]


def check_definition(name: str, dataset: Dataset, ended: Mapping[str, Ended], mutant: str = "") -> None:
    """Parameters and buffers are those of the oracle, and the same on all ranks at each boundary."""
    case = TABLE[name]
    for short in definition(name, mutant):
        end = ended[short.name]
        check_agreement(end, case.strategy.sync_every)
        assert_close(end.tensors, case.oracle(case.learner, dataset, short.config.resolved(3)), case.within)


def constancy(name: str, mutant: str = "") -> list[Short]:
    """On two workers, with dropout and Adam: as it is; with evaluations and checkpoints; and killed at boundaries."""
    case, of = CONSTANT[name], f"{name}, {mutant}"
    return [
        Short(f"{of} plain", Noisy(), case.strategy, CONFIG, mutant=mutant),
        Short(f"{of} often", Noisy(), case.strategy, OFTEN, mutant=mutant),
        Short(f"{of} killed", Noisy(), case.strategy, OFTEN, kills=case.kills, mutant=mutant),
    ]


def check_constancy(name: str, ended: Mapping[str, Ended], mutant: str = "") -> None:
    """The three come to the same bits."""
    case = CONSTANT[name]
    plain, often, killed = (ended[short.name] for short in constancy(name, mutant))
    for end in (plain, often, killed):
        check_agreement(end, case.strategy.sync_every)
    assert_same(often.tensors, plain.tensors)
    assert_same(killed.tensors, plain.tensors)
    assert plain.digests == often.digests == killed.digests
    constant = Noisy().model().state_dict()["shift"]
    assert torch.equal(plain.tensors["shift"], constant), "a constant buffer stays what it is"


def check_agreement(end: Ended, every: int) -> None:
    assert not any(end.errors), end.errors
    assert len(set(end.digests)) == 1, "all ranks have the same bits at every boundary"
    steps = [step for step, _ in end.digests[0]]
    assert steps == sorted({*range(every, steps[-1], every), steps[-1]}), steps


def assert_close(found: Mapping[str, Tensor], model: nn.Module, within: float = 2e-5) -> None:
    expected = model.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=within, atol=within, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same(found: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Bitwise, and not because both are broken."""
    assert set(found) == set(other)
    for name, tensor in other.items():
        assert tensor.isfinite().all()
        assert torch.equal(found[name], tensor), name
