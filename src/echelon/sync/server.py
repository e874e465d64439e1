"""ParameterServer: asynchronous training; workers never wait for each other.

A worker takes the global parameters, τ local steps with an optimizer of its own, and gives back how far it came. The
server adds that, scaled, to what the parameters have become meanwhile (Downpour SGD: Dean et al., "Large Scale
Distributed Deep Networks", NIPS 2012; as in Elephas). Which rows a worker takes, and that each is applied exactly
once, is the matter of `echelon.server`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import Optimizer

from echelon.comm import Comm
from echelon.errors import EchelonError
from echelon.sync.local import LocalReplica

Scale = Literal["mean", "full", "staleness"]


@dataclass(frozen=True)
class ParameterServer:
    """Asynchronous training by a parameter server.

    sync_every: τ, most local steps between taking parameters and giving back a change. scale: by what changes are
    multiplied, of K streams (workers at the run's creation):

    - "mean": 1/K, so that K workers that start alike and end together give the mean of what they reached;
    - "full": 1, as in Downpour SGD and Elephas: K workers go K times as far. For leases of one step, or few: of τ steps
      it makes K times the step that one worker's learning rate allows;
    - "staleness": 1/max(K, s + 1), where s changes of others came between; s = K - 1 is what equal workers have, and
      what is staler counts less (after Zhang et al., "Staleness-aware Async-SGD", IJCAI 2016).
    """

    sync_every: int = 10
    scale: Scale = "mean"

    def __post_init__(self) -> None:
        if self.sync_every < 1:
            raise EchelonError(f"the parameter server needs at least one step in a lease, got {self.sync_every}")
        if self.scale not in get_args(Scale):
            raise EchelonError(f"the scale of changes must be {', '.join(get_args(Scale))}, got {self.scale!r}")

    @property
    def replicated_optimizer(self) -> bool:
        return False

    def factor(self, streams: int, staleness: int) -> float:
        """What a change is multiplied by. staleness: how many others were applied since its parameters were taken."""
        if self.scale == "full":
            return 1.0
        return 1 / (streams if self.scale == "mean" else max(streams, staleness + 1))

    def start(self, objective: nn.Module, comm: Comm, optimizer: Optimizer) -> ServedReplica:
        """
        Raises:
            EchelonError: workers that know each other were started, as by torchrun.
        """
        if comm.world.size > 1:
            raise EchelonError("the workers of a parameter server are tasks of Spark: start them without torchrun")
        return ServedReplica(objective, comm)


class ServedReplica(LocalReplica):
    """A replica that takes local steps. What it agrees on with others goes through the server, around its steps."""

    def _agree(self, share: float, last: bool) -> None:
        return None
