"""A training whose workers are the tasks of a barrier stage."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from echelon.data.manifest import MANIFEST
from echelon.spark.barrier import run_gang
from echelon.spark.probe import Probe
from echelon.spark.recover import retried
from echelon.spark.rendezvous import Member
from echelon.spark.slots import TooFewSlots
from echelon.train.checkpoint import newest
from echelon.train.progress import Progress
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job, train_worker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)


def train_on_spark(
    session: SparkSession, job: Job, workers: int, on_event: Callable[[Event], None]
) -> tuple[Progress, int]:
    """Trains until the end, from the newest checkpoint again after each lost process, host or network.

    When a host does not come back in time, those that are left go on without it.

    Returns:
        The progress, and the number of the attempt that came to the end.

    Raises:
        EchelonError: the root cause, if a worker's own code failed, or three attempts in a row came to no new
        checkpoint.
    """
    folder = RunFolder(job.run)
    last_attempt, lost = 0, False

    def attempt() -> Progress:
        nonlocal last_attempt, job, workers
        last_attempt = folder.start_attempt()
        try:
            return _launch(session, job, workers, last_attempt, on_event)
        except TooFewSlots as few:
            if not lost or not few.slots:
                raise
            _log.warning("%s. Going on with %d of %d workers", few, few.slots, workers)
            # The weights were those of hosts of which one is gone.
            job, workers = replace(job, weights=None), few.slots
            return _launch(session, job, workers, last_attempt, on_event)

    def reached() -> tuple[int, int] | None:
        checkpoint = newest(folder)
        return (checkpoint.attempt, checkpoint.step) if checkpoint else None

    def on_recovery(cause: str, number: int) -> None:
        nonlocal lost
        lost = True
        on_event(_recovery(folder, cause, last_attempt))

    return retried(attempt, reached, on_recovery), last_attempt


def _launch(session: SparkSession, job: Job, workers: int, attempt: int, on_event: Callable[[Event], None]) -> Progress:
    results = run_gang(
        session,
        _Work(job),
        workers,
        run_id=job.run.rstrip("/").rsplit("/", 1)[-1],
        attempt=attempt,
        cpus_per_worker=job.config.cpus_per_worker,
        on_event=on_event,
        probe=Probe(read=((job.dataset, MANIFEST),), write=job.run),
    )
    return Progress.from_json(json.loads(results[0]))


class _Work:
    """The function of one member; it is sent to the workers."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, member: Member) -> bytes:
        progress = train_worker(member.world, member.store, self._job, member.tell, member.interface)
        return json.dumps(progress.to_json()).encode()


def _recovery(folder: RunFolder, cause: str, attempt: int) -> Event:
    """Writes down that an attempt failed, where the report finds it."""
    checkpoint = newest(folder)
    step, seconds = 0, 0.0
    if checkpoint is not None:
        step, seconds = checkpoint.step, float(checkpoint.state["progress"]["seconds"])
    event = {"kind": "recovery", "step": step, "epoch": None, "seconds": seconds, "attempt": attempt, "cause": cause}
    folder.add_event(event)
    return event
