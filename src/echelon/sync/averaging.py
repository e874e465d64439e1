"""Averaging: local steps, then the weighted mean of parameters and buffers.

SparkNet (Moritz et al., ICLR 2016), algorithm 1, with the number of local steps τ. A replica's weight in a round is the
loss weight that it consumed, so with τ = 1 and plain SGD the result is that of AllReduce for any shares.

With slow momentum β (SlowMo: Wang et al., ICLR 2020, algorithm 1) the way from the parameters x at the beginning of a
round to the mean x̄ at its end is a step that momentum carries on:

    u ← β u + (x - x̄) / γ        x ← x - α γ u

with the learning rate γ of the round's last step and a rate α of its own. Optimizer state stays with each replica.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from echelon.comm import Comm
from echelon.errors import EchelonError
from echelon.sync.flat import Flat
from echelon.sync.local import LocalReplica
from echelon.sync.protocol import ReplicaState

MOMENTUM, RATE = "slow_momentum", "rate"


@dataclass(frozen=True)
class Averaging:
    """Periodic averaging.

    sync_every: τ, local steps between two averages. slow_momentum: β of SlowMo, at least 0 and less than 1; None is
    without. slow_lr: its α; None is 1.
    """

    sync_every: int = 10
    slow_momentum: float | None = None
    slow_lr: float | None = None

    def __post_init__(self) -> None:
        if self.sync_every < 1:
            raise EchelonError(f"averaging needs at least one step between synchronisations, got {self.sync_every}")
        if self.slow_momentum is not None and not 0 <= self.slow_momentum < 1:
            raise EchelonError(f"slow momentum must be at least 0 and less than 1, got {self.slow_momentum}")
        if self.slow_lr is not None and not 0 < self.slow_lr < float("inf"):
            raise EchelonError(f"the slow learning rate must be a number greater than 0, got {self.slow_lr}")
        if self.slow_lr is not None and self.slow_momentum is None:
            raise EchelonError(f"the slow learning rate {self.slow_lr} goes with slow momentum: give both or neither")

    @property
    def replicated_optimizer(self) -> bool:
        return False

    def start(self, objective: nn.Module, comm: Comm, optimizer: Optimizer) -> AveragingReplica:
        if self.slow_momentum is None:
            return AveragingReplica(objective, comm)
        lr = 1.0 if self.slow_lr is None else self.slow_lr
        return SlowReplica(objective, comm, optimizer, self.slow_momentum, lr)


class AveragingReplica(LocalReplica):
    """See `echelon.sync.protocol.Replica`."""

    def _agree(self, share: float, last: bool) -> None:
        average_parameters(self._comm, self.module, share)


class SlowReplica(AveragingReplica):
    """Averaging with slow momentum.

    Keeps γ u, which stays finite where the learning rate is 0, and the γ that it was made with.
    """

    def __init__(self, objective: nn.Module, comm: Comm, optimizer: Optimizer, momentum: float, lr: float) -> None:
        super().__init__(objective, comm)
        self._optimizer, self._factor, self._lr = optimizer, momentum, lr
        self._flat = Flat(objective)
        self._begin = self._flat.read()
        self._momentum = torch.zeros_like(self._begin)
        self._rate = 0.0

    def _agree(self, share: float, last: bool) -> None:
        super()._agree(share, last)
        before, self._rate = self._rate, float(self._optimizer.param_groups[0]["lr"])
        scale = self._rate / before if before else 1.0
        self._momentum.mul_(self._factor * scale).add_(self._begin - self._flat.read())
        self._begin -= self._lr * self._momentum
        self._flat.write(self._begin)

    def state(self) -> ReplicaState:
        momentum = self._flat.by_name(self._momentum, MOMENTUM)
        return ReplicaState({**momentum, RATE: torch.tensor(self._rate, dtype=torch.float64)})

    def restore(self, state: ReplicaState) -> None:
        self._momentum = self._flat.from_names(state.shared, MOMENTUM)
        self._rate = float(state.shared[RATE])


def average_parameters(comm: Comm, module: nn.Module, share: float) -> None:
    """Replaces what is trained by its mean over the ranks, weighted by each rank's share; the shares sum to 1."""
    size = comm.world.size
    parameters: list[Tensor] = [p.detach() for p in module.parameters() if p.requires_grad]
    if size == 1 or not parameters:
        return
    # Equal shares become factors of exactly 1: a third in single precision, three times, is more than 1 and would
    # stretch the parameters a little in every round.
    torch._foreach_mul_(parameters, share * size)
    comm.sum(parameters)
    torch._foreach_div_(parameters, size)
