"""What workers ask of the server, and what it answers; the same for a server in this process and one far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from echelon.server.leases import Lease, Outcome
from echelon.server.state import Tensors
from echelon.sync.protocol import Tally
from echelon.train.failure import Failure


@dataclass(frozen=True)
class Joining:
    """A worker that comes. process: tells it from others that came, or will come, with the same number."""

    worker: int
    process: str
    host: str
    device: str


@dataclass(frozen=True)
class Train:
    """Take the lease's steps from these parameters. streams: of the run. seconds: how long the lease lasts if nobody
    renews it.
    """

    lease: Lease
    streams: int
    version: int
    seconds: float
    tensors: Tensors


@dataclass(frozen=True)
class Evaluate:
    """Evaluate these parameters on rows [first, last) of a split. number: of the evaluation. token: of the part."""

    number: int
    token: int
    split: str
    first: int
    last: int
    tensors: Tensors


@dataclass(frozen=True)
class Wait:
    """There is nothing to do now; ask again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Stop:
    """The training is over."""


Order = Train | Evaluate | Wait | Stop


class Server(Protocol):
    """The server as a worker sees it. Every call may be repeated; see `echelon.server.leases.Outcome`."""

    def join(self, who: Joining) -> None:
        """Comes as a worker; whoever had this number before has it no more, and what it held is free."""

    def ask(self, worker: int, process: str) -> Order:
        """What to do next. What the worker held before is given up.

        Raises:
            CommunicationError: another process has taken this worker's number.
        """

    def renew(self, token: int) -> bool:
        """Whether the lease is still held; from now on it lasts as long as a lease does."""

    def push(self, token: int, version: int, change: Tensors, tally: Tally, rate: float) -> Outcome:
        """Gives back what a lease came to.

        version: of the parameters that were taken. tally: what was consumed. rate: the last step's learning rate.
        """

    def exchange(
        self, worker: int, process: str, token: int, version: int, change: Tensors, tally: Tally, rate: float
    ) -> Order:
        """`push` and then `ask`, in one round trip; what became of the change does not matter to who goes on anyway.

        Raises:
            CommunicationError: as `ask`.
        """

    def give(self, number: int, token: int, states: bytes) -> Outcome:
        """Gives back the metric states of a part of an evaluation."""

    def fail(self, failure: Failure) -> None:
        """Tells why this worker ends, which ends the training."""
