"""What trainings should come to: plain PyTorch on whole global batches, in one process, from the plan's rows.

Rows are read with pyarrow alone, so that loader and training are not part of what they are checked by.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rank import seed_of
from torch import Tensor, nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.plan import EpochPlan, block_rows_of
from echelon.train.config import RunConfig
from echelon.train.learner import Learner


@dataclass(frozen=True)
class Table:
    """All rows of a split, by row number."""

    x: Tensor
    y: Tensor
    label: Tensor
    tokens: list[Tensor]

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        numbers = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        tokens = [self.tokens[int(row)] for row in numbers]
        padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        columns = {"x": self.x[numbers], "y": self.y[numbers], "label": self.label[numbers], "tokens": padded}
        return Batch(columns, numbers, {"tokens": torch.tensor([len(t) for t in tokens])})


def read(dataset: Dataset, split: str) -> Table:
    paths = [f"{dataset.url}/{file.path}" for file in dataset.manifest.files(split)]
    table = pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])
    cells = {name: table[name].to_pylist() for name in ("x", "y", "label", "tokens")}
    return Table(
        torch.from_numpy(np.stack([np.frombuffer(cell, dtype="<f4") for cell in cells["x"]])),
        torch.tensor(cells["y"], dtype=torch.float32),
        torch.tensor(cells["label"]),
        [torch.from_numpy(np.frombuffer(cell, dtype="<i4").copy()) for cell in cells["tokens"]],
    )


def plans(dataset: Dataset, config: RunConfig) -> Iterator[tuple[EpochPlan, int]]:
    """The plan of the epoch and the step in it, for every global step of a run."""
    groups = tuple(group.rows for file in dataset.manifest.files("train") for group in file.row_groups)
    for epoch in range(config.epochs):
        plan = EpochPlan(groups, config.resolved_batch_size, config.resolved_lanes, block_rows_of(groups),
                         config.seed, epoch)  # fmt: skip
        for step in range(plan.steps):
            yield plan, step


def beginning(learner: Learner, config: RunConfig) -> nn.Module:
    """The model that rank 0 begins with."""
    torch.manual_seed(config.seed)
    np.random.seed(seed_of(0))
    return learner.model()


def whole_batches(learner: Learner, dataset: Dataset, config: RunConfig, steps: int | None = None) -> nn.Module:
    """One process on the whole global batch of every step."""
    table, model = read(dataset, "train"), beginning(learner, config)
    optimizer = learner.optimizer(model)
    lr = optimizer.param_groups[0]["lr"]
    for number, (plan, step) in enumerate(plans(dataset, config)):
        if number == steps:
            break
        rows = plan.read(range(config.resolved_lanes), step, step + 1).rows
        _update(learner, model, optimizer, table.batch(rows), config, lr * learner.rate(number))
    return model


class Agreement:
    """How replicas of one process agree at the end of a round: as SparkNet does, by weighted means of everything."""

    def __init__(self, first: nn.Module) -> None:
        self.agreed = [p.detach().clone() for p in first.parameters()]

    @torch.no_grad()
    def __call__(self, replicas: Sequence[nn.Module], shares: Sequence[float], rate: float, last: bool) -> None:
        means_of(replicas, shares)


class OuterNesterov(Agreement):
    """DiLoCo: torch's own SGD makes a step from the agreed parameters, with the mean displacement as the gradient."""

    def __init__(self, first: nn.Module, lr: float, momentum: float) -> None:
        super().__init__(first)
        self.sgd = torch.optim.SGD(self.agreed, lr=lr, momentum=momentum, nesterov=momentum > 0)

    @torch.no_grad()
    def __call__(self, replicas: Sequence[nn.Module], shares: Sequence[float], rate: float, last: bool) -> None:
        means_of(replicas, shares)
        self.step([x - mean for x, mean in zip(self.agreed, replicas[0].parameters(), strict=True)])
        for replica in replicas:
            set_parameters(replica, self.agreed)

    def step(self, gradient: Sequence[Tensor]) -> None:
        for x, g in zip(self.agreed, gradient, strict=True):
            x.grad = g.clone()
        self.sgd.step()


class OverlappedNesterov(OuterNesterov):
    """The gradient of a round is applied a round later; meanwhile each goes on with its own on top."""

    def __init__(self, first: nn.Module, lr: float, momentum: float) -> None:
        super().__init__(first, lr, momentum)
        self.begins: list[list[Tensor]] = []
        self.late: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, replicas: Sequence[nn.Module], shares: Sequence[float], rate: float, last: bool) -> None:
        begins = self.begins or [self.agreed] * len(replicas)
        ways = [
            [p - x for p, x in zip(replica.parameters(), begin, strict=True)]
            for replica, begin in zip(replicas, begins, strict=True)
        ]
        means_of(replicas, shares)
        gradient = [-sum(s * way for s, way in zip(shares, each, strict=True)) for each in zip(*ways, strict=True)]
        if self.late:
            self.step(self.late)
        self.late = gradient
        if last:
            self.step(gradient)
        self.begins = [[x + d for x, d in zip(self.agreed, way, strict=True)] for way in ways]
        for replica, begin in zip(replicas, self.begins, strict=True):
            set_parameters(replica, self.agreed if last else begin)


class SlowMomentum(Agreement):
    """SlowMo's algorithm 1 as it is written."""

    def __init__(self, first: nn.Module, momentum: float, lr: float) -> None:
        super().__init__(first)
        self.momentum, self.lr = momentum, lr
        self.u = [torch.zeros_like(x) for x in self.agreed]

    @torch.no_grad()
    def __call__(self, replicas: Sequence[nn.Module], shares: Sequence[float], rate: float, last: bool) -> None:
        means_of(replicas, shares)
        means = [p.clone() for p in replicas[0].parameters()]
        self.u = [self.momentum * u + (x - mean) / rate for u, x, mean in zip(self.u, self.agreed, means, strict=True)]
        self.agreed = [x - self.lr * rate * u for x, u in zip(self.agreed, self.u, strict=True)]
        for replica in replicas:
            set_parameters(replica, self.agreed)


def averaged(
    learner: Learner,
    dataset: Dataset,
    config: RunConfig,
    sync_every: int,
    shares: Sequence[range],
    agreement: Callable[[nn.Module], Agreement] = Agreement,
) -> nn.Module:
    """Local steps: replicas of one process, each with its own optimizer and the rows of its lanes."""
    table, first = read(dataset, "train"), beginning(learner, config)
    replicas, agree = [copy.deepcopy(first) for _ in shares], agreement(first)
    optimizers = [learner.optimizer(replica) for replica in replicas]
    lr, weights = optimizers[0].param_groups[0]["lr"], [0.0] * len(shares)
    steps = list(plans(dataset, config))
    for number, (plan, step) in enumerate(steps, 1):
        rate = lr * learner.rate(number - 1)
        for rank, (share, replica, optimizer) in enumerate(zip(shares, replicas, optimizers, strict=True)):
            rows = plan.read(share, step, step + 1).rows
            batch = table.batch(rows) if len(rows) else None
            weights[rank] += _update(learner, replica, optimizer, batch, config, rate)
        if number % sync_every == 0 or number == len(steps):
            agree(replicas, [weight / sum(weights) for weight in weights], rate, number == len(steps))
            weights = [0.0] * len(shares)
    return replicas[0]


def _update(
    learner: Learner, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch | None, config: RunConfig,
    lr: float,
) -> float:  # fmt: skip
    """One step on one batch; its weight. Without rows the gradient is zero, which momentum still turns into a step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if batch is None:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        return 0.0
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        loss, weight = learner.loss(model, batch)
    (loss / weight).backward()
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return float(weight)


@torch.no_grad()
def set_parameters(model: nn.Module, values: Sequence[Tensor]) -> None:
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)


def means_of(replicas: Sequence[nn.Module], shares: Sequence[float]) -> None:
    """Weighted means; of a running variance that of all rows together: the variance within plus that of the means."""
    states = [replica.state_dict() for replica in replicas]
    agreed = {}
    for name, first in states[0].items():
        values = [state[name].double() for state in states]
        if not first.is_floating_point():
            agreed[name] = torch.stack(values).amax(0).to(first.dtype)
            continue
        agreed[name] = sum(share * value for share, value in zip(shares, values, strict=True))
        if name.endswith("running_var"):
            means = [state[name.replace("running_var", "running_mean")].double() for state in states]
            centre = sum(share * mean for share, mean in zip(shares, means, strict=True))
            agreed[name] = agreed[name] + sum(
                share * (mean - centre) ** 2 for share, mean in zip(shares, means, strict=True)
            )
    for replica in replicas:
        replica.load_state_dict(agreed)
