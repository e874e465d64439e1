"""Trains in this very process, as a world of one."""

from __future__ import annotations

from collections.abc import Callable

from echelon.train.progress import Progress
from echelon.train.run import Event
from echelon.train.worker import Job, train_worker
from echelon.world import single_world


def train_here(job: Job, attempt: int, on_event: Callable[[Event], None]) -> Progress:
    """Trains until the end; see `echelon.train.worker.train_worker`."""
    return train_worker(single_world(attempt), None, job, on_event)
