"""PowerSGD: gradients of matrices travel as products of two thin ones.

Vogels et al., "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization", NeurIPS 2019,
algorithms 1 and 2. Of the gradient M [n, m] with what earlier steps lost of it, and a factor Q [m, r] of the step
before:

    P ← mean of M Q over the ranks, orthonormalised        Q ← mean of Mᵀ P        the gradient ← P Qᵀ, lost ← M - P Qᵀ

M is scaled by this rank's part of the step's loss weight, so the mean is that over all rows. Torch has this as a hook
of DDP, which begins collectives on gloo's threads: with several buckets these come in another order on each rank, and
the processes abort. Here they come after the backward pass, two for all parameters, with names and deadlines.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from echelon.comm import Comm
from echelon.errors import EchelonError
from echelon.sync.buffers import Exchange
from echelon.sync.protocol import ReplicaState, Tally, scale_gradients

LEAST_RATE = 2
"""How many times fewer numbers two factors must have than their matrix; below, the matrix is sent itself."""
FACTOR, LOST = "factor", "lost"


class PowerSGDReplica:
    """See `echelon.sync.protocol.Replica`. Every step is a boundary.

    rank: of the products. What was lost is kept for each replica, in numbers of the mean gradient.
    """

    takes_means = False

    def __init__(self, objective: nn.Module, comm: Comm, rank: int) -> None:
        self.module = objective
        self._comm = comm
        self._named = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        generator = torch.Generator().manual_seed(0)
        self._factors: dict[str, Tensor] = {}
        self._lost: dict[str, Tensor] = {}
        self._due: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            if parameter.ndim < 2 or comm.world.size == 1:
                continue
            matrix = _matrix(parameter.detach())
            thin = min(rank, *matrix.shape)
            if thin * sum(matrix.shape) * LEAST_RATE < matrix.numel():
                start = torch.randn(matrix.shape[1], thin, generator=generator, dtype=torch.float32)
                self._factors[name] = start.to(matrix)
                self._lost[name] = torch.zeros_like(matrix)

    def microbatch(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext()

    def announce(self, tally: Tally, last: bool) -> None:
        self._exchange = Exchange(self._comm, self.module, tally)

    def before_step(self) -> Tally:
        total = self._exchange.finish()
        scale_gradients(self.module, self._comm.world.size / total.weight if total.weight else 0.0)
        if self._comm.world.size > 1:
            self._mean()
        for name, owed in self._due.items():
            _matrix(_gradient(self._named[name])).add_(owed.to(self._named[name]))
        self._due = {}
        return total

    def _mean(self) -> None:
        """Replaces gradients by their means over the ranks, those of matrices approximately."""
        size = self._comm.world.size
        for parameter in self._named.values():
            if parameter.grad is None:
                # What took no part here may have taken one elsewhere.
                parameter.grad = torch.zeros_like(parameter)
        whole = [_gradient(p) for name, p in self._named.items() if name not in self._factors]
        matrices = {name: _matrix(_gradient(self._named[name])).add_(self._lost[name]) for name in self._factors}
        left = {name: matrix @ _orthonormal(self._factors[name]) for name, matrix in matrices.items()}
        self._comm.sum([*whole, *left.values()])
        left = {name: _orthonormal(factor) for name, factor in left.items()}
        right = {name: matrix.T @ left[name] for name, matrix in matrices.items()}
        self._comm.sum(list(right.values()))
        for gradient in whole:
            gradient.div_(size)
        for name, matrix in matrices.items():
            self._factors[name] = right[name].div_(size)
            product = left[name] @ self._factors[name].T
            torch.sub(matrix, product, out=self._lost[name])
            _gradient(self._named[name]).copy_(product.view_as(self._named[name]))

    def after_step(self) -> None:
        return None

    def agreed(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def state(self) -> ReplicaState:
        return ReplicaState(
            {f"{FACTOR}/{name}": factor for name, factor in self._factors.items()},
            {f"{LOST}/{name}": lost for name, lost in self._lost.items()},
        )

    def restore(self, state: ReplicaState) -> None:
        for kind, stored, held in ((FACTOR, state.shared, self._factors), (LOST, state.own, self._lost)):
            for name, tensor in held.items():
                found = stored.get(f"{kind}/{name}", tensor)
                if found.shape != tensor.shape:
                    raise EchelonError(
                        f"the checkpoint's {kind} of the gradient of {name} has the shape {tuple(found.shape)} and not "
                        f"{tuple(tensor.shape)}: go on with the model that it was made with"
                    )
                tensor.copy_(found)
        if self._comm.world.size == 1:
            # It needs no products any more, and takes what was owed at once.
            self._due = {name.partition("/")[2]: owed for name, owed in state.own.items()}


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.detach()


def _matrix(tensor: Tensor) -> Tensor:
    """[n, …] as [n, m]; a copy only where the memory is in another order."""
    return tensor.reshape(tensor.shape[0], -1)


def _orthonormal(matrix: Tensor) -> Tensor:
    """The Q of a QR decomposition; of columns that are zero too, so that a gradient of zeros gives zeros."""
    return torch.linalg.qr(matrix).Q
