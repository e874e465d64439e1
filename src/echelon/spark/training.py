"""A training whose workers are tasks of Spark: those of a barrier stage, or such as a parameter server needs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echelon.data.manifest import MANIFEST
from echelon.errors import CommunicationError, StorageError
from echelon.spark.barrier import HostLost, run_gang
from echelon.spark.probe import Probe
from echelon.spark.recover import retried
from echelon.spark.rendezvous import Member
from echelon.spark.served import serve_on_spark
from echelon.spark.slots import SETTLE_SECONDS, START_SECONDS, TooFewSlots
from echelon.sync.server import ParameterServer
from echelon.train.checkpoint import newest
from echelon.train.progress import Progress
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job, train_worker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A training that came to its end.

    attempt: the number of the launch that came there. workers: how many it had; hosts that were lost are missing.
    """

    progress: Progress
    attempt: int
    workers: int


def train_on_spark(session: SparkSession, job: Job, workers: int, on_event: Callable[[Event], None]) -> Trained:
    """Trains until the end, from the newest checkpoint again after each lost process, host or network.

    When a host does not come back in time, those that are left go on without it.

    Raises:
        EchelonError: the root cause, if a worker's own code failed, or three attempts in a row came to no new
        checkpoint.
    """
    return _Training(session, job, workers, on_event).run()


class _Training:
    """The attempts of one training."""

    def __init__(self, session: SparkSession, job: Job, workers: int, on_event: Callable[[Event], None]) -> None:
        self._session, self._job, self._workers, self._on_event = session, job, workers, on_event
        self._folder = RunFolder(job.run)
        self._attempt = 0
        self._settle_seconds = SETTLE_SECONDS
        # What was told of the newest failure.
        self._lost: Event | None = None

    def run(self) -> Trained:
        return retried(self._try, self._reached, self._on_recovery)

    def _try(self) -> Trained:
        self._attempt = self._folder.start_attempt()
        while True:
            try:
                progress = _launch(
                    self._session, self._job, self._workers, self._attempt, self._on_event, self._settle_seconds
                )
                return Trained(progress, self._attempt, self._workers)
            except TooFewSlots as few:
                if self._lost is None:
                    raise
                if not few.slots:
                    raise CommunicationError(f"no host is left: {few}") from few
                self._go_on_with(few.slots, self._lost)
            except CommunicationError as error:
                # An executor that died may be coming back.
                self._settle_seconds = SETTLE_SECONDS if isinstance(error, HostLost) else START_SECONDS
                raise

    def _go_on_with(self, slots: int, lost: Event) -> None:
        fewer = f"going on with {slots} of {self._workers} workers"
        _log.warning("%s", fewer)
        self._lost = {**lost, "cause": f"{lost['cause']}; {fewer}"}
        self._tell(self._lost)
        # The weights were those of hosts of which one is gone.
        self._job, self._workers = replace(self._job, weights=None), slots

    def _reached(self) -> tuple[int, int] | None:
        checkpoint = newest(self._folder)
        return (checkpoint.attempt, checkpoint.step) if checkpoint else None

    def _on_recovery(self, cause: str, number: int) -> None:
        self._lost = {"kind": "recovery", "step": 0, "epoch": None, "seconds": 0.0, "attempt": self._attempt}
        self._lost["cause"] = cause
        if (checkpoint := newest(self._folder)) is not None:
            self._lost |= {"step": checkpoint.step, "seconds": float(checkpoint.state["progress"]["seconds"])}
        self._tell(self._lost)

    def _tell(self, event: Event) -> None:
        """Shows what happened and writes it down, where the report finds it: once for each attempt that failed."""
        self._on_event(event)
        try:
            self._folder.add_event(event)
        except StorageError as error:
            _log.warning("a recovery could not be written down: %s", error)


def _launch(
    session: SparkSession,
    job: Job,
    workers: int,
    attempt: int,
    on_event: Callable[[Event], None],
    settle_seconds: float,
) -> Progress:
    if isinstance(job.strategy, ParameterServer):
        return serve_on_spark(session, job, workers, attempt, on_event)
    results = run_gang(
        session,
        _Work(job),
        workers,
        run_id=job.run.rstrip("/").rsplit("/", 1)[-1],
        attempt=attempt,
        cpus_per_worker=job.config.cpus_per_worker,
        settle_seconds=settle_seconds,
        on_event=on_event,
        probe=Probe(read=((job.dataset, MANIFEST),), write=job.run),
        # The first optimizer of a process loads it, which takes as long as torch itself.
        imports=("torch._dynamo",),
    )
    return Progress.from_json(json.loads(results[0]))


class _Work:
    """The function of one member; it is sent to the workers."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, member: Member) -> bytes:
        progress = train_worker(member.world, member.store, self._job, member.tell, member.interface)
        return json.dumps(progress.to_json()).encode()
