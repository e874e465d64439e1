"""A training by a parameter server: the server beside the driver, its workers as ordinary tasks of Spark.

Spark tries a worker's task again when its process is lost, wherever there is room; the others go on meanwhile.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from echelon.errors import CommunicationError, StorageError
from echelon.server.child import Post
from echelon.server.client import Client
from echelon.server.keys import Address, Keys
from echelon.server.process import ServerProcess
from echelon.server.worker import work_for
from echelon.spark.background import BackgroundJob
from echelon.spark.barrier import driver_address
from echelon.spark.device import task_device
from echelon.spark.failure import from_spark
from echelon.spark.packed import pack, settle
from echelon.train.progress import Progress
from echelon.train.run import Event
from echelon.train.worker import Job
from echelon.world import World

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import SparkSession

POLL_SECONDS = 0.1
GOODBYE_SECONDS = 5.0


def serve_on_spark(
    session: SparkSession, job: Job, workers: int, attempt: int, on_event: Callable[[Event], None]
) -> Progress:
    """One attempt of a training, until its end.

    Args:
        workers: tasks. Any number of them that Spark runs at a time makes progress.

    Raises:
        EchelonError: the root cause, if a worker's own code or the server failed.
        CommunicationError, StorageError: Spark gave a worker up, or the server was lost. Worth another try.
    """
    bind, host = driver_address(session)
    keys = Keys.new()
    post = Post(job, attempt, workers, keys, bind)
    group = f"echelon-server-{uuid.uuid4().hex}"
    with ServerProcess(post, pack(post).data, host, on_event) as server:
        # In a new session Spark's Python processes import torch for as long as the server does.
        woken = BackgroundJob(
            session, lambda: session.sparkContext.parallelize(range(workers), workers).map(abs), f"{group}-woken",
            "Echelon: wakes Python workers",
        )  # fmt: skip
        try:
            _serve(session, server, _Work(job, server.address(), workers, attempt), workers, group)
        finally:
            woken.cancel()
    assert server.progress is not None
    return server.progress


def _serve(session: SparkSession, server: ServerProcess, work: _Work, workers: int, group: str) -> None:
    """Runs the tasks of the workers until the server says that the training is over."""
    tasks = BackgroundJob(
        session, lambda: _plan(session, work, workers), group, "Echelon: workers of a parameter server"
    )
    try:
        while not server.poll(POLL_SECONDS):
            if tasks.wait(0):
                _refuse_end(server, tasks)
        tasks.wait(GOODBYE_SECONDS)
    finally:
        tasks.cancel()


def _refuse_end(server: ServerProcess, tasks: BackgroundJob) -> None:
    """The tasks have ended. So has the training, or the server says why not, or something was lost."""
    end = time.monotonic() + GOODBYE_SECONDS
    while time.monotonic() < end:
        if server.poll(POLL_SECONDS):
            return
    if isinstance(tasks.error, (KeyboardInterrupt, SystemExit)):
        raise tasks.error
    if tasks.error is not None:
        raise from_spark(tasks.error) from None
    raise CommunicationError("all workers have ended before the training")


def _plan(session: SparkSession, work: _Work, workers: int) -> RDD[int]:
    packed = pack(work, ("torch._dynamo",))

    def task(numbers: Iterable[int]) -> Iterator[int]:
        run = packed.unpacked()
        settle()
        for number in numbers:
            run(number)
            yield number

    return session.sparkContext.parallelize(range(workers), workers).mapPartitions(task)


class _Work:
    """What a task does; it is sent to the workers."""

    def __init__(self, job: Job, address: Address, workers: int, attempt: int) -> None:
        self._job, self._address, self._workers, self._attempt = job, address, workers, attempt

    def __call__(self, number: int) -> None:
        from pyspark import TaskContext

        context, config = TaskContext.get(), self._job.config
        tries = context.attemptNumber() if context is not None else 0
        with task_device(config.device) as device, closing(Client(self._address, config.step_deadline)) as server:
            # What a fault rehearses once must not come again with each new try of the task.
            world = World(
                number, max(self._workers, number + 1), device=device, host=socket.gethostname(),
                attempt=self._attempt + tries,
            )  # fmt: skip
            try:
                work_for(server, self._job, world)
            except (CommunicationError, StorageError):
                raise
            except Exception:
                # The driver knows it from the server; Spark, which would try it again, need not.
                return
