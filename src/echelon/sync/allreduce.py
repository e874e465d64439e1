"""AllReduce: gradients are summed over the workers in every step, overlapped with the backward pass.

The gradient is Σ sums / Σ weights over all ranks, so it equals that of one process on the whole global batch,
whatever the shares. DDP itself would weigh unequal batches equally (for the overlap: Li et al., "PyTorch Distributed",
VLDB 2020).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from echelon.comm import Comm, GradientWay
from echelon.errors import EchelonError
from echelon.sync.buffers import Exchange
from echelon.sync.powersgd import PowerSGDReplica
from echelon.sync.protocol import Replica, ReplicaState, Tally, scale_gradients

Compression = Literal["bf16", "fp16", "powersgd"]
POWERSGD_RANK = 4
SCALE = "scale"


@dataclass(frozen=True)
class AllReduce:
    """Synchronous training: every step is a boundary.

    find_unused_parameters: for models in which some parameters take no part in some steps. compression: what gradients
    travel as; None is as they are. powersgd_rank: of the products that stand for matrices; None is 4.
    """

    find_unused_parameters: bool = False
    compression: Compression | None = None
    powersgd_rank: int | None = None

    def __post_init__(self) -> None:
        if self.compression is not None and self.compression not in get_args(Compression):
            raise EchelonError(f"the compression must be {', '.join(get_args(Compression))}, got {self.compression!r}")
        if self.powersgd_rank is not None and self.compression != "powersgd":
            raise EchelonError(f"the PowerSGD rank {self.powersgd_rank} goes with the compression powersgd")
        if self.powersgd_rank is not None and self.powersgd_rank < 1:
            raise EchelonError(f"the PowerSGD rank must be at least 1, got {self.powersgd_rank}")

    @property
    def sync_every(self) -> int:
        return 1

    @property
    def replicated_optimizer(self) -> bool:
        return True

    def start(self, objective: nn.Module, comm: Comm, optimizer: Optimizer) -> Replica:
        if self.compression == "powersgd":
            return PowerSGDReplica(objective, comm, self.powersgd_rank or POWERSGD_RANK)
        return AllReduceReplica(objective, comm, self)


class AllReduceReplica:
    """See `echelon.sync.protocol.Replica`.

    Gradients in fp16 are divided by the loss weight of the step before, lest a sum over many rows is larger than any
    number of fp16; in the first step of a run nobody knows it, and they travel as they are.
    """

    def __init__(self, objective: nn.Module, comm: Comm, strategy: AllReduce) -> None:
        self._objective = objective
        self._comm = comm
        self._half = strategy.compression == "fp16"
        self._way = GradientWay(torch.bfloat16 if strategy.compression == "bf16" else None)
        self.module = objective
        # Of several workers nobody knows the weight of all before the backward pass.
        self.takes_means = comm.world.size == 1
        if comm.world.size > 1:
            with warnings.catch_warnings():
                # torch 2.13 prefers a new name for broadcast_buffers that the older ones do not know.
                warnings.simplefilter("ignore", FutureWarning)
                self._ddp = DistributedDataParallel(
                    objective,
                    broadcast_buffers=False,
                    init_sync=False,
                    gradient_as_bucket_view=True,
                    find_unused_parameters=strategy.find_unused_parameters,
                )
            self._ddp.register_comm_hook(self._way, comm.sum_gradients)
            self.module = self._ddp
            comm.at_end(self._let_go)

    def _let_go(self) -> None:
        """Ends DDP's hold of the process group; see `echelon.group`."""
        for name in ("reducer", "logger", "process_group"):
            self._ddp.__dict__.pop(name, None)

    @contextmanager
    def microbatch(self, last: bool) -> Iterator[None]:
        with nullcontext() if last or self._comm.world.size == 1 else self._ddp.no_sync():
            yield
        self._comm.settle(self._way)
        if last and self._comm.world.size > 1:
            # Once the last bucket was ready, the rest of the backward pass was nothing but waiting for the sums.
            self._comm.seconds += time.perf_counter() - self._way.ready

    def announce(self, tally: Tally, last: bool) -> None:
        self._exchange = Exchange(self._comm, self._objective, tally)

    def before_step(self) -> Tally:
        total = self._exchange.finish()
        if not self.takes_means:
            scale_gradients(self._objective, 1 / (total.weight * self._way.scale) if total.weight else 0.0)
        if self._half and total.weight and self._comm.world.size > 1:
            self._way.dtype, self._way.scale = torch.float16, 1 / total.weight
        return total

    def after_step(self) -> None:
        return None

    def agreed(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def state(self) -> ReplicaState:
        if self._way.dtype != torch.float16:
            return ReplicaState()
        return ReplicaState({SCALE: torch.tensor(self._way.scale, dtype=torch.float64)})

    def restore(self, state: ReplicaState) -> None:
        if SCALE in state.shared and self._half and self._comm.world.size > 1:
            self._way.dtype, self._way.scale = torch.float16, float(state.shared[SCALE])
