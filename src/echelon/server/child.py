"""The server's process, forked by `echelon.server.nursery` and asked for by `echelon.server.process`.

It reads where and what to serve from its standard input and ends when that is closed, which is so at the latest when
the driver ends, however it does. What it has to say goes as JSON lines into a pipe.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch

from echelon.allocation import kept_memory
from echelon.data.manifest import open_dataset
from echelon.errors import CommunicationError
from echelon.server.conductor import Conductor
from echelon.server.keys import Keys
from echelon.server.near import Near, near_end
from echelon.server.opening import open_server
from echelon.server.serve import Listener
from echelon.train.config import RunConfig
from echelon.train.events import EventLog
from echelon.train.failure import describe
from echelon.train.run import RunFolder, as_json
from echelon.train.worker import Job

BORN, READY, EVENT, ALIVE, FINISHED, FAILED, ENDED = "born", "ready", "event", "alive", "finished", "failed", "ended"
"""BORN has the process, ENDED its exit code."""
FAREWELL_SECONDS = 5.0
"""How long workers that have not heard that it is over may still come to hear it."""
ALIVE_SECONDS = 5.0
SERVER_RANK = -1
"""Whose failure it is, if it is no worker's."""

Say = Callable[..., None]
T = TypeVar("T")


@dataclass(frozen=True)
class Post:
    """What a server is started with. bind: address of the interface to listen on. workers: that will come."""

    job: Job
    attempt: int
    workers: int
    keys: Keys
    bind: str


@dataclass(frozen=True)
class Place:
    """Of the driver, as it is when it starts a server. folder: for the socket of workers on this machine."""

    environment: dict[str, str]
    path: tuple[str, ...]
    working: str
    folder: str

    @classmethod
    def here(cls, folder: str) -> Place:
        return cls(dict(os.environ), tuple(map(os.path.abspath, sys.path)), os.getcwd(), folder)

    def enter(self) -> None:
        """Makes this process one that the driver would have started."""
        os.environ.clear()
        os.environ.update(self.environment)
        sys.path[:] = self.path
        os.chdir(self.working)


def serve_post(end: int) -> int:
    """Serves one attempt of a training.

    Args:
        end: file descriptor of the pipe in which the driver listens.

    Returns: the exit status.
    """
    lock = threading.Lock()

    def say(kind: str, **values: Any) -> None:
        line = told(kind, **values)
        with lock, suppress(BrokenPipeError):
            while line:
                line = line[os.write(end, line) :]

    say(BORN, pid=os.getpid())
    try:
        place = _read(Place)
        place.enter()
        post = _read(Post)
        threading.Thread(target=_end_with_driver, args=(place,), name="driver", daemon=True).start()
        torch.set_num_threads(post.job.config.cpus_per_worker)
        with kept_memory():
            _serve(post, near_end(place.folder), say)
    except BaseException as error:
        say(FAILED, failure=asdict(describe(error, SERVER_RANK, socket.gethostname(), 0)))
        return 1
    return 0


def told(kind: str, **values: Any) -> bytes:
    """What is said to the driver."""
    return f"{as_json({'kind': kind, **values})}\n".encode()


def _serve(post: Post, near: Near | None, say: Say) -> None:
    log = EventLog(RunFolder(post.job.run), post.attempt, lambda event: say(EVENT, event=event))
    with closing(log):
        conductor = open_server(post.job, open_dataset(post.job.dataset), log, post.attempt, post.workers)
        with closing(conductor), closing(Listener(conductor, post.keys, post.bind, near)) as listener:
            say(READY, port=listener.port)
            listener.serve(_Watch(conductor, post.job.config, say))
    if conductor.failure is not None:
        say(FAILED, failure=asdict(conductor.failure))
    else:
        say(FINISHED, progress=conductor.progress.to_json())


class _Watch:
    """Whether to end: when all is done and known to the workers, or soon after.

    Raises:
        CommunicationError: no worker has said anything for as long as one may need for a step or an evaluation.
    """

    def __init__(self, conductor: Conductor, config: RunConfig, say: Say) -> None:
        self._conductor, self._say = conductor, say
        self._silence = max(config.first_step_deadline, config.later_step_deadline, config.evaluation_deadline)
        self._farewell: float | None = None
        self._said = 0.0

    def __call__(self) -> bool:
        now, conductor = time.monotonic(), self._conductor
        if now - self._said > ALIVE_SECONDS:
            self._said = now
            self._say(ALIVE)
        if conductor.ended or conductor.failure is not None:
            self._farewell = self._farewell or now + FAREWELL_SECONDS
            return conductor.everyone_knows or now > self._farewell
        if now - conductor.last_heard > self._silence:
            raise CommunicationError(f"no worker came to the server, or said anything, in {self._silence:g} s")
        return False


def _read(wanted: type[T]) -> T:
    """What the driver wrote next: its length, and a pickle that only the driver of this process can have written."""
    # Not through sys.stdin, whose lock would stand in the way of an orderly end.
    size = int.from_bytes(_taken(8), "little")
    found = pickle.loads(_taken(size))
    assert isinstance(found, wanted)
    return found


def _taken(size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            raise CommunicationError("the driver ended before the parameter server began")
        data += part
    return data


def _end_with_driver(place: Place) -> None:
    """Ends this process when the driver has closed its end, as it has if it was killed."""
    while os.read(0, 1 << 10):
        pass
    shutil.rmtree(place.folder, ignore_errors=True)
    os._exit(1)
