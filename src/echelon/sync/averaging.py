"""Averaging: local steps, then the weighted mean of parameters and buffers.

SparkNet (Moritz et al., ICLR 2016), algorithm 1, with the number of local steps τ. A replica's weight in a round is the
loss weight that it consumed, so with τ = 1 and plain SGD the result is that of AllReduce for any shares.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from echelon.comm import Comm
from echelon.errors import EchelonError
from echelon.sync.buffers import exchange
from echelon.sync.protocol import Tally, scale_gradients


@dataclass(frozen=True)
class Averaging:
    """Periodic averaging.

    sync_every: τ, local steps between two averages. Optimizer state stays with each replica.
    """

    sync_every: int = 10

    def __post_init__(self) -> None:
        if self.sync_every < 1:
            raise EchelonError(f"averaging needs at least one step between synchronisations, got {self.sync_every}")

    @property
    def replicated_optimizer(self) -> bool:
        return False

    def start(self, objective: nn.Module, comm: Comm) -> AveragingReplica:
        return AveragingReplica(objective, comm, self.sync_every)


class AveragingReplica:
    """See `echelon.sync.protocol.Replica`."""

    def __init__(self, objective: nn.Module, comm: Comm, sync_every: int) -> None:
        self.module = objective
        self._comm = comm
        self._sync_every = sync_every

    def microbatch(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def before_step(self, weight: float, tally: Tally) -> None:
        scale_gradients(self.module, 1 / weight if weight else 0.0)

    def after_step(self, step: int, tally: Tally, last: bool) -> Tally | None:
        if step % self._sync_every and not last:
            return None
        total = exchange(self._comm, self.module, tally)
        share = tally.weight / total.weight if total.weight else 1 / self._comm.world.size
        average_parameters(self._comm, self.module, share)
        return total


def average_parameters(comm: Comm, module: nn.Module, share: float) -> None:
    """Replaces what is trained by its mean over the ranks, weighted by each rank's share; the shares sum to 1."""
    size = comm.world.size
    parameters = [p.detach() for p in module.parameters() if p.requires_grad]
    if size == 1 or not parameters:
        return
    # Equal shares become factors of exactly 1: a third in single precision, three times, is more than 1 and would
    # stretch the parameters a little in every round.
    torch._foreach_mul_(parameters, share * size)
    comm.sum(parameters)
    torch._foreach_div_(parameters, size)
