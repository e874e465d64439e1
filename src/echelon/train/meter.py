"""Where a worker's time goes: reading, computing, or waiting for the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from echelon.comm import Comm
from echelon.data.loader import Loader
from echelon.sync.protocol import Tally


class Meter:
    """Reads the clocks of loader and collectives; what is neither reading nor synchronising is computing.

    A GPU first ends what it was given: else that would count where it is waited for.
    """

    def __init__(self, loader: Loader, comm: Comm) -> None:
        self._loader, self._comm = loader, comm
        self._marks = self._now()

    def take(self) -> Tally:
        """Seconds and bytes since this was called last."""
        now = self._now()
        reading, synchronising, sent, clock = (b - a for a, b in zip(self._marks, now, strict=True))
        self._marks = now
        computing = max(clock - reading - synchronising, 0.0)
        return Tally(reading=reading, computing=computing, synchronising=synchronising, sent=sent)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out what happens in the block, but for the bytes sent."""
        before = self._now()
        yield
        reading, synchronising, _, clock = (b - a for a, b in zip(before, self._now(), strict=True))
        marks = self._marks
        self._marks = (marks[0] + reading, marks[1] + synchronising, marks[2], marks[3] + clock)

    def _now(self) -> tuple[float, float, float, float]:
        device = self._comm.world.device
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        return self._loader.seconds_waiting, self._comm.seconds, self._comm.bytes_sent, time.perf_counter()
