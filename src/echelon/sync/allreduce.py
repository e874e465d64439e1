"""AllReduce: gradients are summed over the workers in every step, overlapped with the backward pass.

The gradient is Σ sums / Σ weights over all ranks, so it equals that of one process on the whole global batch,
whatever the shares. DDP itself would weigh unequal batches equally (for the overlap: Li et al., "PyTorch Distributed",
VLDB 2020).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from echelon.comm import Comm
from echelon.sync.buffers import exchange
from echelon.sync.protocol import Tally, scale_gradients


@dataclass(frozen=True)
class AllReduce:
    """Synchronous training: every step is a boundary.

    find_unused_parameters: for models in which some parameters take no part in some steps.
    """

    find_unused_parameters: bool = False

    @property
    def sync_every(self) -> int:
        return 1

    @property
    def replicated_optimizer(self) -> bool:
        return True

    def start(self, objective: nn.Module, comm: Comm) -> AllReduceReplica:
        return AllReduceReplica(objective, comm, self.find_unused_parameters)


class AllReduceReplica:
    """See `echelon.sync.protocol.Replica`."""

    def __init__(self, objective: nn.Module, comm: Comm, find_unused_parameters: bool) -> None:
        self._objective = objective
        self._comm = comm
        self._last_bucket = {"ready": 0.0}
        self.module = objective
        if comm.world.size > 1:
            with warnings.catch_warnings():
                # torch 2.13 prefers a new name for broadcast_buffers that the older ones do not know.
                warnings.simplefilter("ignore", FutureWarning)
                self._ddp = DistributedDataParallel(
                    objective,
                    broadcast_buffers=False,
                    init_sync=False,
                    gradient_as_bucket_view=True,
                    find_unused_parameters=find_unused_parameters,
                )
            self._ddp.register_comm_hook(self._last_bucket, comm.sum_gradients)
            self.module = self._ddp

    @contextmanager
    def microbatch(self, last: bool) -> Iterator[None]:
        with nullcontext() if last or self._comm.world.size == 1 else self._ddp.no_sync():
            yield
        self._comm.settle(self._last_bucket)
        if last and self._comm.world.size > 1:
            # Once the last bucket was ready, the rest of the backward pass was nothing but waiting for the sums.
            self._comm.seconds += time.perf_counter() - self._last_bucket["ready"]

    def before_step(self, weight: float, tally: Tally) -> Tally:
        total = exchange(self._comm, self._objective, tally)
        scale_gradients(self._objective, 1 / total.weight if total.weight else 0.0)
        return total

    def after_step(self, step: int, tally: Tally, last: bool) -> None:
        return None
