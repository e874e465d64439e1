"""How the processes of a world exchange tensors: the only caller of torch.distributed's collectives.

Every collective has a deadline that is named when it passes, and is counted in bytes and seconds. No collective carries
pickled objects, since neither gloo nor NCCL authenticates its peers.
"""

# Annotations stay objects here: torch compares those of a communication hook with its own types.
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _set_pg_timeout

from echelon.backend import GLOO, Backend
from echelon.buckets import buckets, scatter
from echelon.errors import CommunicationError
from echelon.world import World

_LATE = "Application timeout caused pair closure"
_SIGNS = (
    "gloo/transport", "connectFullMesh failed", "Connection closed by peer", "Connection reset by peer",
    "Wait timeout", "NCCL", _LATE,
)  # fmt: skip
"""What torch's messages say when peers or the network fail, where the type of the error does not."""


@dataclass
class GradientWay:
    """How gradients travel during a backward pass.

    dtype: what they are sent and added up as, times `scale`; None for as they are. ready: when the last bucket was
    there; from then on backward only waits.
    """

    dtype: torch.dtype | None = None
    scale: float = 1.0
    ready: float = 0.0


class Comm:
    """The collectives of one process, and what they cost.

    backend: what carries them. timeout: the deadline in seconds until another is set. bytes_sent: what this process
    sends in a ring all-reduce, 2(n-1)/n of the payload; in an exchange or a gathering of parts those for the n-1
    others; else the payload. seconds: time in which this process waited for a collective. in_flight: collectives that
    have begun and whose results were not asked for. holders: see `at_end`.
    """

    def __init__(self, world: World, backend: Backend = GLOO, timeout: float = 30.0) -> None:
        self.world = world
        self.backend = backend
        self.bytes_sent = 0.0
        self.seconds = 0.0
        self._phase = "start"
        self._timeout = timedelta(seconds=timeout)
        self._pending: list[tuple[torch.cuda.Event, dist.Work]] = []
        self.holders: list[Callable[[], None]] = []
        self.in_flight = 0

    def at_end(self, let_go: Callable[[], None]) -> None:
        """Calls this before the process group ends: what holds it without Python's knowledge lets go of it."""
        self.holders.append(let_go)

    def deadline(self, phase: str, seconds: float) -> None:
        """From here on a collective may take so long; the phase is named in the error when it takes longer."""
        if self.world.size > 1 and (phase, seconds) != (self._phase, self._timeout.total_seconds()):
            self._timeout = timedelta(seconds=seconds)
            _set_pg_timeout(self._timeout)
        self._phase = phase

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over the ranks. The result is bitwise the same on every rank."""
        if self.world.size == 1:
            return
        with self._waiting("sum"):
            for bucket in buckets(tensors):
                flat = torch.cat([t.detach().reshape(-1) for t in bucket])
                self._finish(dist.all_reduce(flat, async_op=True), flat)
                self._count_ring(flat)
                scatter(flat, bucket)

    def maximum(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its maximum over the ranks."""
        if self.world.size == 1:
            return
        with self._waiting("maximum"):
            for bucket in buckets(tensors):
                flat = torch.cat([t.detach().reshape(-1) for t in bucket])
                self._finish(dist.all_reduce(flat, op=dist.ReduceOp.MAX, async_op=True), flat)
                self._count_ring(flat)
                scatter(flat, bucket)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by rank 0's."""
        if self.world.size == 1:
            return
        with self._waiting("broadcast"):
            for bucket in buckets(tensors):
                flat = torch.cat([t.detach().reshape(-1) for t in bucket])
                self._finish(dist.broadcast(flat, src=0, async_op=True), flat)
                self.bytes_sent += flat.numel() * flat.element_size() if self.world.is_first else 0
                scatter(flat, bucket)

    def meet(self) -> None:
        """Returns when all ranks came here."""
        self.sum([torch.zeros(1)])

    def gather_bytes(self, data: bytes, *, everywhere: bool = True) -> list[bytes]:
        """What every rank gave, in rank order, on every rank; else on rank 0 only, and nothing on the others."""
        if self.world.size == 1:
            return [data]
        with self._waiting("gather"):
            sizes = torch.zeros(self.world.size, dtype=torch.int64)
            sizes[self.world.rank] = len(data)
            dist.all_reduce(sizes)
            longest = int(sizes.max())
            mine = torch.zeros(longest, dtype=torch.uint8)
            mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else mine[:0]
            wanted = everywhere or self.world.is_first
            parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.world.size)] if wanted else []
            if longest and everywhere:
                dist.all_gather(parts, mine)
            elif longest:
                dist.gather(mine, parts if wanted else None, dst=0)
            self.bytes_sent += longest if everywhere or not self.world.is_first else 0
        return [part[: int(size)].numpy().tobytes() for part, size in zip(parts, sizes, strict=wanted)]

    def begin_sum(self, tensor: Tensor) -> "Pending":
        """Begins to replace a tensor by its sum over the ranks, with the same bits on every rank.

        Of what is begun here the deadline is that of now. All ranks begin the same in the same order.
        """
        with self.naming("a sum"):
            work = dist.all_reduce(tensor, async_op=True)
        self._count_ring(tensor)
        return Pending(self, "a sum", work, tensor, tensor.device)

    def begin_exchange(self, parts: Tensor) -> "Pending":
        """Begins to give each rank one row of [ranks, numbers]; the result's rows are what each rank gave this one."""
        device, parts = parts.device, self._carried(parts)
        received = torch.empty_like(parts)
        with self.naming("an exchange of parts"):
            work = dist.all_to_all_single(received, parts, async_op=True)
        self.bytes_sent += parts[1:].numel() * parts.element_size()
        return Pending(self, "an exchange of parts", work, received, device, parts)

    def begin_gather(self, part: Tensor) -> "Pending":
        """Begins to gather [numbers] of each rank; the result is [ranks, numbers] on every rank."""
        device, part = part.device, self._carried(part)
        gathered = torch.empty((self.world.size, *part.shape), dtype=part.dtype, device=part.device)
        with self.naming("a gathering of parts"):
            work = dist.all_gather(list(gathered), part, async_op=True)
        self.bytes_sent += (self.world.size - 1) * part.numel() * part.element_size()
        return Pending(self, "a gathering of parts", work, gathered, device, part)

    def sum_gradients(self, way: GradientWay, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        """A DDP communication hook: the plain sum of a bucket of gradients, overlapped with the backward pass.

        Call `settle` after backward.
        """
        buffer = bucket.buffer()
        sent = buffer if way.dtype is None else (buffer * way.scale).to(way.dtype)
        self._count_ring(sent)
        way.ready = time.perf_counter()
        if self.backend.has_nccl:
            computed = torch.cuda.Event()
            computed.record()
        work = dist.all_reduce(sent, async_op=True)
        if self.backend.has_nccl:
            self._pending.append((computed, work))
        return work.get_future().then(lambda future: buffer.copy_(future.value()[0]))

    def settle(self, way: GradientWay) -> None:
        """Returns when all buckets of gradients are summed, which at the end of backward NCCL has only queued.

        Whatever reads the GPU after that would otherwise wait for a lost peer for ever.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        # What the GPU computes itself comes to its end without any peer.
        pending[-1][0].synchronize()
        way.ready = time.perf_counter()
        with self.naming("the sum of gradients"):
            for _, work in pending:
                work.wait(self._timeout)

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """Turns what torch raises when a peer is gone or a deadline passes into an error that says where it was."""
        try:
            yield
        except RuntimeError as error:
            if not is_communication_failure(error):
                raise
            said = str(error).splitlines()[0]
            cause = f"another rank did not come in time ({_LATE})" if _LATE in said else said
            raise CommunicationError(
                f"{self.world}: {what} failed in phase '{self._phase}' "
                f"(deadline {self._timeout.total_seconds():.0f} s): {cause}"
            ) from error

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        with self.naming(what):
            yield
        self.seconds += time.perf_counter() - start

    def _finish(self, work: dist.Work, tensor: Tensor) -> None:
        """Returns when a collective is done, or raises when its deadline has passed.

        Without a deadline of its own NCCL's wait would return at once, with a result that may never come.
        """
        if self.backend.has_nccl and tensor.is_cuda:
            work.wait(self._timeout)
        else:
            work.wait()

    def _carried(self, tensor: Tensor) -> Tensor:
        """The tensor where the backend takes it: gloo exchanges no parts of a GPU's memory."""
        return tensor.contiguous() if self.backend.has_nccl else tensor.cpu().contiguous()

    def _count_ring(self, payload: Tensor) -> None:
        size = self.world.size
        self.bytes_sent += payload.numel() * payload.element_size() * 2 * (size - 1) / size


class Pending:
    """A collective that runs while this process does something else."""

    def __init__(
        self, comm: Comm, what: str, work: dist.Work, received: Tensor, device: torch.device, sent: Tensor | None = None
    ) -> None:
        self._comm, self._what, self._received, self._device = comm, what, received, device
        self._work: dist.Work | None = work
        self._sent = sent  # must live as long as it is being sent
        comm.in_flight += 1

    def done(self) -> bool:
        """Whether the result is there, or an error instead."""
        return self._work is None or self._work.is_completed()

    def result(self) -> Tensor:
        """What the ranks exchanged, on the device that it came from; waits for it.

        Raises:
            CommunicationError: a peer is gone, or the deadline passed.
        """
        if self._work is not None:
            with self._comm._waiting(self._what):
                self._comm._finish(self._work, self._received)
            self._work = self._sent = None
            self._comm.in_flight -= 1
        return self._received.to(self._device)


def is_communication_failure(error: BaseException) -> bool:
    """Whether an error says that a peer or the network failed, and not that the computation is wrong."""
    if isinstance(error, (CommunicationError, dist.DistError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
