"""Replicas that take steps of their own and agree at the end of each round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import nn

from echelon.comm import Comm
from echelon.sync.buffers import Exchange
from echelon.sync.protocol import ReplicaState, Tally


@dataclass(frozen=True)
class _Round:
    """One that ends with this step. weight: the loss weight that this replica consumed in it."""

    weight: float
    last: bool
    exchange: Exchange


class LocalReplica(ABC):
    """See `echelon.sync.protocol.Replica`.

    A replica's share in an agreement is the loss weight that it consumed in the round.
    """

    takes_means = True

    def __init__(self, objective: nn.Module, comm: Comm) -> None:
        self.module = objective
        self._comm = comm
        self._round: _Round | None = None

    @abstractmethod
    def _agree(self, share: float, last: bool) -> None:
        """Exchanges what was learned in this round. share: of this replica; they sum to 1."""

    def _between(self) -> None:  # noqa: B027
        """Called after each step that is no boundary."""

    def _settle(self) -> None:  # noqa: B027
        """Called at a boundary before anything is exchanged."""

    def microbatch(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def announce(self, tally: Tally, last: bool) -> None:
        self._settle()
        self._round = _Round(tally.weight, last, Exchange(self._comm, self.module, tally))

    def before_step(self) -> None:
        return None

    def after_step(self) -> Tally | None:
        ending, self._round = self._round, None
        if ending is None:
            self._between()
            return None
        total = ending.exchange.finish()
        self._agree(ending.weight / total.weight if total.weight else 1 / self._comm.world.size, ending.last)
        return total

    def agreed(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def state(self) -> ReplicaState:
        return ReplicaState()

    def restore(self, state: ReplicaState) -> None:
        return None
