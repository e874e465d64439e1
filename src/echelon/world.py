"""Who this process is among the workers of a run; read once, then passed on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from echelon.device import CPU, default_device
from echelon.errors import EchelonError


@dataclass(frozen=True)
class World:
    """One process among `size`.

    rank: 0 … size-1; rank 0 decides and writes what is written once. local_rank, local_size: the same on this host.
    device: where the model of this process lives. host: its name, for messages.
    attempt: counts the starts of a run; what an earlier attempt still writes can never be taken for newer.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: torch.device = CPU
    host: str = "localhost"
    attempt: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} does not fit a world of {self.size}")

    @property
    def is_first(self) -> bool:
        """Whether this process decides for all."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {self.host}"


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """For the length of the block torch computes with this many threads; a user's own process is as it was after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def single_world(attempt: int = 1) -> World:
    """The world of a process that trains alone."""
    return World(device=default_device(), host=socket.gethostname(), attempt=attempt)


def torchrun_world(environment: Mapping[str, str] = os.environ, attempt: int = 1) -> World:
    """The world that torchrun describes in RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE.

    Raises:
        EchelonError: one of them is missing or is no number.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, size, local_rank, local_size = (int(environment[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise EchelonError(f"this process was not started by torchrun: {error} (needed: {', '.join(names)})") from None
    return World(rank, size, local_rank, local_size, default_device(local_rank), socket.gethostname(), attempt)
