"""Servers and workers as tests want them: real sockets, real processes."""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from counted import Counting
from torch import Tensor

from echelon.data.manifest import Dataset
from echelon.errors import CommunicationError
from echelon.server.child import Post
from echelon.server.client import Client
from echelon.server.conductor import Conductor
from echelon.server.keys import Address, Keys
from echelon.server.near import Near
from echelon.server.opening import open_server
from echelon.server.process import ServerProcess
from echelon.server.serve import Listener
from echelon.server.worker import work_for
from echelon.sync.server import ParameterServer
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.events import EventLog
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.worker import Job
from echelon.world import World

LOCAL = "127.0.0.1"
HANG_SECONDS = 60.0
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch._dynamo", "torchmetrics", "echelon.server.worker"])


def order(folder: Path, dataset: Dataset, config: RunConfig, learner: Learner | None = None, workers: int = 2,
          strategy: ParameterServer | None = None) -> Job:  # fmt: skip
    return Job(
        str(folder), dataset.url, learner or Counting(), strategy or ParameterServer(3), config.resolved(workers)
    )


@dataclass(frozen=True)
class Served:
    """A server in a thread of this process."""

    job: Job
    conductor: Conductor
    address: Address


@contextmanager
def served(job: Job, dataset: Dataset, workers: int = 2, near: Near | None = None) -> Iterator[Served]:
    """A server that answers until the end of the block. near: where workers on this machine find it as well."""
    keys, stop = Keys.new(), threading.Event()
    with closing(EventLog(RunFolder(job.run), 1, lambda event: None)) as log:
        conductor = open_server(job, dataset, log, 1, workers)
        with closing(conductor), closing(Listener(conductor, keys, LOCAL, near)) as listener:
            thread = threading.Thread(target=listener.serve, args=(stop.is_set,))
            thread.start()
            try:
                yield Served(job, conductor, keys.address(LOCAL, listener.port, near))
            finally:
                stop.set()
                thread.join(HANG_SECONDS)


def world(number: int, workers: int = 2, attempt: int = 1) -> World:
    return World(number, max(workers, number + 1), host=socket.gethostname(), attempt=attempt)


def work(address: Address, job: Job, number: int, attempt: int = 1, seconds: float = 30.0) -> None:
    """What a worker's process does."""
    torch.set_num_threads(1)
    with closing(Client(address, seconds)) as client:
        work_for(client, job, world(number, attempt=attempt))


@contextmanager
def server_process(job: Job, workers: int = 2, attempt: int = 1) -> Iterator[ServerProcess]:
    post = Post(job, attempt, workers, Keys.new(), LOCAL)
    with ServerProcess(post, pickle.dumps(post), LOCAL, lambda event: None) as server:
        yield server


def finish(server: ServerProcess) -> None:
    """Waits until the training is over."""
    end = time.monotonic() + HANG_SECONDS
    while not server.poll(0.1):
        if time.monotonic() > end:
            raise CommunicationError(f"the training did not end within {HANG_SECONDS:.0f} s")


def counts(job: Job, streams: int = 2) -> Tensor:
    """How often each row was applied, by the newest checkpoint."""
    checkpoint = newest(RunFolder(job.run))
    assert checkpoint is not None
    return checkpoint.model()["count"] * streams
