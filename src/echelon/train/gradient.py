"""The gradients of one rank's rows in one step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.sync.protocol import Replica, scale_gradients
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.precision import autocast, check_loss


def add_gradients(
    replica: Replica,
    learner: Learner,
    config: RunConfig,
    batch: Batch | None,
    epoch: int,
    key: tuple[int, int, int],
    device: torch.device,
    told: Callable[[float, float], None] = lambda loss, weight: None,
) -> tuple[float, float]:
    """Adds up the gradients of the sum of the losses, or of their mean, in microbatches; that sum and its weight.

    Of the mean where the replica takes that. A rank without rows adds zeros, and the model does not run. The generator
    is seeded anew before each forward pass, so dropout needs no state to be saved.

    Args:
        key: (seed, step, rank). told: called once with the result, as soon as it is known: before the last backward
            pass, but where a GPU would have to be waited for after it.
    """
    rows = len(batch) if batch is not None else 0
    size = config.microbatch or max(rows, 1)
    losses: list[Tensor] = []
    loss_sum = weight = 0.0
    for number, start in enumerate(range(0, max(rows, 1), size)):
        _reseed(_seed(*key, number), device)
        prepared = None
        if batch is not None and rows:
            piece = batch.slice(start, min(start + size, rows))
            there = piece if device.type == "cpu" else piece.to(device)
            prepared = learner.prepare(there, Draw(config.seed, epoch, piece.rows))
        last = start + size >= rows
        with replica.microbatch(last):
            with autocast(config.precision, device):
                loss, part = replica.module(prepared)
            check_loss(loss)
            losses.append(loss.detach())
            weight += float(part)
            if last and device.type == "cpu":
                loss_sum = _sum(losses)
                told(loss_sum, weight)
            # A factor of the whole chain costs nothing; but bf16 would round it, and all gradients by as much.
            within = replica.takes_means and rows <= size and config.precision == "fp32"
            loss.backward(_factor(loss, weight) if within else None)
    if replica.takes_means and not within:
        scale_gradients(replica.module, 1 / weight if weight else 0.0)
    if device.type != "cpu":
        loss_sum = _sum(losses)
        told(loss_sum, weight)
    return loss_sum, weight


def _sum(losses: list[Tensor]) -> float:
    return float(losses[0] if len(losses) == 1 else torch.stack(losses).sum())


def _factor(loss: Tensor, weight: float) -> Tensor:
    return torch.full_like(loss, 1 / weight if weight else 0.0)


def _reseed(seed: int, device: torch.device) -> None:
    """What torch.manual_seed does, for the devices in use: it formats a stack trace for each one that is not."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _seed(*key: int) -> int:
    """A seed for torch's generator, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") >> 1
