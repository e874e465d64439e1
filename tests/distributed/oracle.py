"""What trainings should come to: plain PyTorch on whole global batches, in one process, from the plan's rows.

Rows are read with pyarrow alone, so that loader and training are not part of what they are checked by.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
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


def averaged(
    learner: Learner, dataset: Dataset, config: RunConfig, sync_every: int, shares: Sequence[range]
) -> nn.Module:
    """SparkNet's algorithm: replicas of one process, each with its own optimizer and the rows of its lanes."""
    table, first = read(dataset, "train"), beginning(learner, config)
    replicas = [copy.deepcopy(first) for _ in shares]
    optimizers = [learner.optimizer(replica) for replica in replicas]
    lr, weights = optimizers[0].param_groups[0]["lr"], [0.0] * len(shares)
    steps = list(plans(dataset, config))
    for number, (plan, step) in enumerate(steps, 1):
        for rank, (share, replica, optimizer) in enumerate(zip(shares, replicas, optimizers, strict=True)):
            rows = plan.read(share, step, step + 1).rows
            batch = table.batch(rows) if len(rows) else None
            weights[rank] += _update(learner, replica, optimizer, batch, config, lr * learner.rate(number - 1))
        if number % sync_every == 0 or number == len(steps):
            _agree(replicas, [weight / sum(weights) for weight in weights])
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
def _agree(replicas: Sequence[nn.Module], shares: Sequence[float]) -> None:
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
