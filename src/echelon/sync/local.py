"""Replicas that take steps of their own and agree at the end of each round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from echelon.comm import Comm
from echelon.sync.buffers import exchange
from echelon.sync.protocol import ReplicaState, Tally, scale_gradients


class LocalReplica(ABC):
    """See `echelon.sync.protocol.Replica`. A boundary is each multiple of `sync_every` steps, and the last step.

    A replica's share in an agreement is the loss weight that it consumed in the round.
    """

    def __init__(self, objective: nn.Module, comm: Comm, sync_every: int) -> None:
        self.module = objective
        self._comm = comm
        self._sync_every = sync_every

    @abstractmethod
    def _agree(self, share: float, last: bool) -> None:
        """Exchanges what was learned in this round. share: of this replica; they sum to 1."""

    def _between(self) -> None:  # noqa: B027
        """Called after each step that is no boundary."""

    def _settle(self) -> None:  # noqa: B027
        """Called at a boundary before anything is exchanged."""

    def microbatch(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def announce(self, tally: Tally) -> None:
        return None

    def before_step(self, weight: float) -> None:
        scale_gradients(self.module, 1 / weight if weight else 0.0)

    def after_step(self, step: int, tally: Tally, last: bool) -> Tally | None:
        if step % self._sync_every and not last:
            self._between()
            return None
        self._settle()
        total = exchange(self._comm, self.module, tally)
        self._agree(tally.weight / total.weight if total.weight else 1 / self._comm.world.size, last)
        return total

    def agreed(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def state(self) -> ReplicaState:
        return ReplicaState()

    def restore(self, state: ReplicaState) -> None:
        return None
