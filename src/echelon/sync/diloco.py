"""DiLoCo: the mean displacement of a round of local steps is the gradient of an outer optimizer.

Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023, algorithm 1. With the
agreed parameters θ, and the replicas' displacements d in H steps that begin there, weighted by the loss weight that
each consumed, the outer Nesterov SGD (as torch.optim.SGD has it) does

    Δ = -Σ share · d        v ← μ v + Δ        θ ← θ - η (Δ + μ v)

and all replicas go on from θ. With η = 1 and μ = 0 this is Averaging.

With overlap the exchange of a round runs while the next one computes, and its result is applied a round later. A
replica then goes on from the agreed parameters and its own last displacement on top of them, which the agreed ones do
not have yet:

    at the end of round r:  θ ← the outer step with Δ of round r-1;  begin to sum Δ of round r;  go on from θ + d(r)

So nobody throws away or takes twice what it learned last. Local progress on top of late averages is CoCoD-SGD (Shen et
al., IJCAI 2019); Streaming DiLoCo (Douillard et al., 2025) mixes local and late global parameters half and half, which
suits delays that are short beside a round. Applying late averages alone diverges where a round nearly reaches the
minimum. What is evaluated and stored is θ; the last step of a run waits for its own exchange, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from echelon.comm import Comm
from echelon.errors import EchelonError
from echelon.sync.codec import Encoding, codec_of
from echelon.sync.flat import Flat
from echelon.sync.inflight import InFlight, arrived, begin_mean
from echelon.sync.local import LocalReplica
from echelon.sync.protocol import ReplicaState

MOMENTUM, LOST, MEAN, BEGIN = "outer_momentum", "lost", "mean", "begin"


@dataclass(frozen=True)
class DiLoCo:
    """Local steps with an outer optimizer; the inner one's state stays with each replica.

    sync_every: H, local steps of a round. outer_lr, outer_momentum: η and μ. exchange: what displacements travel as;
    what bf16 and int8 lose is sent with the next round. overlap: exchange a round while the next one computes.
    """

    sync_every: int = 100
    outer_lr: float = 0.7
    outer_momentum: float = 0.9
    exchange: Encoding = "fp32"
    overlap: bool = False

    def __post_init__(self) -> None:
        if self.sync_every < 1:
            raise EchelonError(f"DiLoCo needs at least one step between synchronisations, got {self.sync_every}")
        if not 0 < self.outer_lr < inf:
            raise EchelonError(f"the outer learning rate must be a number greater than 0, got {self.outer_lr}")
        if not 0 <= self.outer_momentum < 1:
            raise EchelonError(f"the outer momentum must be at least 0 and less than 1, got {self.outer_momentum}")
        if self.exchange not in get_args(Encoding):
            raise EchelonError(f"the exchange must be {', '.join(get_args(Encoding))}, got {self.exchange!r}")

    @property
    def replicated_optimizer(self) -> bool:
        return False

    def start(self, objective: nn.Module, comm: Comm, optimizer: Optimizer) -> DiLoCoReplica:
        return DiLoCoReplica(objective, comm, self)


class DiLoCoReplica(LocalReplica):
    """See `echelon.sync.protocol.Replica`.

    Vectors of all parameters: the agreed ones, momentum, what encoding lost, and, where that is elsewhere, the
    parameters with which this replica's round began.
    """

    def __init__(self, objective: nn.Module, comm: Comm, strategy: DiLoCo) -> None:
        super().__init__(objective, comm)
        self._strategy = strategy
        self._codec = codec_of(strategy.exchange)
        self._flat = Flat(objective)
        self._theta = self._flat.read()
        self._begin = self._theta
        self._momentum = torch.zeros_like(self._theta)
        self._lost = torch.zeros(len(self._theta) if self._codec else 0, device=self._theta.device)
        self._flight: InFlight | None = None

    def _between(self) -> None:
        if self._flight is not None:
            self._flight.poll()

    def _settle(self) -> None:
        if self._flight is not None:
            self._flight.result()

    def _agree(self, share: float, last: bool) -> None:
        displacement = self._flat.read() - self._begin
        before = self._flight
        # Equal shares are factors of exactly 1, and what an encoding lost means the same whatever the shares.
        part = displacement * (-share * self._comm.world.size)
        self._flight = begin_mean(self._comm, part, self._codec, self._lost)
        if before is not None:
            self._outer_step(before.result())
        if last or not self._strategy.overlap:
            self._outer_step(self._flight.result())
            self._flight = None
            self._go_on_from(self._theta)
        else:
            self._go_on_from(self._theta + displacement)

    def _outer_step(self, gradient: Tensor) -> None:
        mu = self._strategy.outer_momentum
        self._momentum.mul_(mu).add_(gradient)
        self._theta -= self._strategy.outer_lr * (gradient + mu * self._momentum)

    def _go_on_from(self, vector: Tensor) -> None:
        self._begin = vector
        self._flat.write(vector)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        if self._flight is None:
            yield
            return
        self._flat.write(self._theta)
        yield
        self._flat.write(self._begin)

    def state(self) -> ReplicaState:
        shared = self._flat.by_name(self._momentum, MOMENTUM)
        own = self._flat.by_name(self._lost, LOST) if self._codec is not None else {}
        if self._flight is not None:
            # Waiting for it here, and not at the next boundary, costs time and changes nothing.
            shared |= self._flat.by_name(self._flight.result(), MEAN)
            own |= self._flat.by_name(self._begin, BEGIN)
        return ReplicaState(shared, own)

    def restore(self, state: ReplicaState) -> None:
        self._momentum = self._flat.from_names(state.shared, MOMENTUM)
        if self._codec is not None:
            self._lost = self._flat.from_names(state.own, LOST).float()
        if any(name.startswith(f"{MEAN}/") for name in state.shared):
            self._flight = arrived(self._flat.from_names(state.shared, MEAN))
            self._go_on_from(self._flat.from_names(state.own, BEGIN))
