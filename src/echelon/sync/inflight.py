"""The mean of a vector over the ranks, on its way while training goes on.

Encoded vectors are exchanged in two collectives: each rank gets everybody's part of its own slice, adds these up in
single precision, and all gather the sums. So a rank sends 2(n-1)/n encoded vectors whatever n is, as in a ring, and all
ranks decode the same bytes: the result has the same bits everywhere. What encoding loses is added to what this rank
sends next time (error feedback: Seide et al., Interspeech 2014; at both ends: Tang et al., "DoubleSqueeze", ICML 2019).
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from echelon.comm import Comm, Pending
from echelon.sync.codec import Codec

Stages = Generator[Pending, None, Tensor]


class InFlight:
    """A result that takes several collectives. All ranks must `poll` and take results between the same collectives."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._pending: Pending | None = None
        self._result: Tensor | None = None
        self._advance()

    def poll(self) -> None:
        """Begins the next collective if the one before is done. Never waits."""
        while self._pending is not None and self._pending.done():
            self._advance()

    def result(self) -> Tensor:
        """Waits for the result, which is the same however often it is asked for.

        Raises:
            CommunicationError: a peer is gone, or the deadline passed.
        """
        while self._pending is not None:
            self._pending.result()
            self._advance()
        assert self._result is not None
        return self._result

    def _advance(self) -> None:
        try:
            self._pending = next(self._stages)
        except StopIteration as end:
            self._pending, self._result = None, end.value


def arrived(result: Tensor) -> InFlight:
    """A result that is there already."""

    def stages() -> Stages:
        yield from ()
        return result

    return InFlight(stages())


def begin_mean(comm: Comm, values: Tensor, codec: Codec | None, residual: Tensor) -> InFlight:
    """Begins to take the mean of a vector over the ranks.

    Args:
        values: [numbers] float, which is overwritten. codec: None sends them as they are.
        residual: [numbers] float32, what earlier exchanges lost; replaced by what this one loses. Not used without a
            codec.
    """
    if not values.numel():
        return arrived(values)
    if comm.world.size == 1:
        if codec is not None:
            # What this one owes from when it had peers.
            values += residual
            residual.zero_()
        return arrived(values)
    return InFlight(_whole(comm, values) if codec is None else _encoded(comm, values, codec, residual))


def _whole(comm: Comm, values: Tensor) -> Stages:
    pending = comm.begin_sum(values)
    yield pending
    return pending.result().div_(comm.world.size)


def _encoded(comm: Comm, values: Tensor, codec: Codec, residual: Tensor) -> Stages:
    size, rank, numbers = comm.world.size, comm.world.rank, values.numel()
    length = codec.padded(-(-numbers // size))
    wanted = torch.zeros(size * length, device=values.device)
    wanted[:numbers] = values + residual
    parts = codec.encode(wanted.view(size, length))
    lost = wanted - codec.decode(parts, length).view(-1)
    pending = comm.begin_exchange(parts)
    yield pending
    own = codec.decode(pending.result(), length).sum(0)
    part = codec.encode(own[None])
    # The sum of a slice is encoded by its owner alone, who therefore sends again what that lost, too.
    lost[rank * length : (rank + 1) * length] += own - codec.decode(part, length)[0]
    residual.copy_(lost[:numbers])
    pending = comm.begin_gather(part[0])
    yield pending
    return (codec.decode(pending.result(), length).view(-1)[:numbers] / size).to(values.dtype)
