"""What the training loop asks of a strategy."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from echelon.comm import Comm


@dataclass
class Tally:
    """What workers count between two boundaries; its sum over the ranks is exchanged at each boundary.

    weight: loss weight consumed (rows, or tokens for sequences). loss: sum of the losses. rows: rows consumed.
    reading, computing, synchronising: seconds. sent: bytes.
    seconds: of training, by rank 0's clock; evaluate, checkpoint, stop: 1 or 0. Rank 0 alone sets these, so that its
        decisions reach everybody at the same boundary.
    """

    weight: float = 0.0
    loss: float = 0.0
    rows: float = 0.0
    reading: float = 0.0
    computing: float = 0.0
    synchronising: float = 0.0
    sent: float = 0.0
    seconds: float = 0.0
    evaluate: float = 0.0
    checkpoint: float = 0.0
    stop: float = 0.0

    def summed(self, comm: Comm, beside: Sequence[Tensor] = ()) -> Tally:
        """The sum of this tally over the ranks.

        beside: float64 tensors that are replaced by their sums in the same exchange.
        """
        vector = self.vector(comm.world.device)
        comm.sum([vector, *beside])
        return Tally(*vector.tolist())

    def vector(self, device: torch.device) -> Tensor:
        """All fields in order (float64, [fields])."""
        return torch.tensor(self._values(), dtype=torch.float64, device=device)

    def __add__(self, other: Tally) -> Tally:
        return Tally(*map(operator.add, self._values(), other._values()))

    def _values(self) -> tuple[float, ...]:
        """All fields in order. dataclasses.astuple copies them deeply, which is dear in every step."""
        return tuple(vars(self).values())


@dataclass(frozen=True)
class ReplicaState:
    """What a replica keeps from one boundary to the next beside model and optimizer: tensors by name.

    shared: equal on all ranks, and stored once. own: of this replica, and stored for each; all ranks have the same
    names, and floating-point tensors of which the mean over the ranks means something: on another number of workers
    each begins with that.
    """

    shared: dict[str, Tensor] = field(default_factory=dict)
    own: dict[str, Tensor] = field(default_factory=dict)


class Replica(Protocol):
    """One worker's copy of the model under a strategy. The loop calls it in this order:

        replica.restore(state)                      # if training goes on from a checkpoint
        for each global step:
            for each microbatch:  with replica.microbatch(last): replica.module(batch) → (loss sum, weight); backward
                replica.announce(tally, last)       # at a boundary, before the last backward or after it
            replica.before_step()                   # leaves in .grad what the optimizer shall use
            optimizer.step()
            replica.after_step()
            with replica.agreed():                  # at a boundary
                evaluate; store the model and replica.state()

    A boundary is each multiple of the strategy's `sync_every` steps, and the last step. `tally` is all that this rank
    counted since the tally before; what the rest of the step costs is in the next one. At a boundary exactly one of
    before_step and after_step returns its sum over the ranks; otherwise both return None.
    Parameters and buffers are equal on all ranks in the block of agreed(), which neither evaluation nor checkpoints
    change, and after the last step.

    takes_means: whether before_step finds gradients of the mean loss of this rank's rows, and not of the sum.
    """

    module: nn.Module
    takes_means: bool

    def microbatch(self, last: bool) -> AbstractContextManager[Any]: ...

    def announce(self, tally: Tally, last: bool) -> None:
        """The exchange of the tally may begin here, beside a backward pass. last: whether this is the last step."""

    def before_step(self) -> Tally | None: ...

    def after_step(self) -> Tally | None: ...

    def agreed(self) -> AbstractContextManager[Any]:
        """In the block the module is what all ranks agree on; after it, what training goes on with."""

    def state(self) -> ReplicaState:
        """What is to be stored, at a boundary, on all ranks. May wait for the others; changes no result."""

    def restore(self, state: ReplicaState) -> None:
        """Goes on from a state, with the module as it was in the block of agreed().

        Raises:
            EchelonError: the state is that of another model.
        """


@runtime_checkable
class Strategy(Protocol):
    """A way for replicas to agree: a frozen dataclass of plain values, so that it can be stored with the run.

    sync_every: steps between boundaries. replicated_optimizer: whether every rank has the same optimizer state.
    """

    @property
    def sync_every(self) -> int: ...

    @property
    def replicated_optimizer(self) -> bool: ...

    def start(self, objective: nn.Module, comm: Comm, optimizer: Optimizer) -> Replica:
        """The replica of this worker.

        objective: module(batch or None) → (sum of losses, weight); None stands for a step without rows and gives a zero
        that depends on every parameter. Its parameters and buffers are equal on all ranks already. optimizer: the one
        that takes the steps; its first group's "lr" is the learning rate of the current one.
        """


def scale_gradients(module: nn.Module, factor: float) -> None:
    """Multiplies every gradient by the factor."""
    gradients: list[Tensor] = [p.grad for p in module.parameters() if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)
