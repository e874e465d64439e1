"""The server's process: python -m echelon.server.child, started by `echelon.server.process`.

It reads what to serve from its standard input and ends when that is closed, which is so at the latest when the driver
ends, however it does. What it has to say goes as JSON lines into the file descriptor that is its argument.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import torch

from echelon.data.manifest import open_dataset
from echelon.errors import CommunicationError
from echelon.server.conductor import Conductor
from echelon.server.keys import Keys
from echelon.server.opening import open_server
from echelon.server.serve import Listener
from echelon.train.config import RunConfig
from echelon.train.events import EventLog
from echelon.train.failure import describe
from echelon.train.run import RunFolder, as_json
from echelon.train.worker import Job

READY, EVENT, ALIVE, FINISHED, FAILED = "ready", "event", "alive", "finished", "failed"
FAREWELL_SECONDS = 5.0
"""How long workers that have not heard that it is over may still come to hear it."""
ALIVE_SECONDS = 5.0
SERVER_RANK = -1
"""Whose failure it is, if it is no worker's."""

Say = Callable[..., None]


@dataclass(frozen=True)
class Post:
    """What a server is started with. bind: address of the interface to listen on. workers: that will come."""

    job: Job
    attempt: int
    workers: int
    keys: Keys
    bind: str


def main() -> None:
    """Serves one attempt of a training."""
    out, lock = os.fdopen(int(sys.argv[1]), "w", buffering=1), threading.Lock()

    def say(kind: str, **values: Any) -> None:
        with lock:
            out.write(as_json({"kind": kind, **values}) + "\n")

    try:
        post = _post(sys.stdin.buffer)
        threading.Thread(target=_end_with_driver, name="driver", daemon=True).start()
        torch.set_num_threads(post.job.config.cpus_per_worker)
        _serve(post, say)
    except BaseException as error:
        say(FAILED, failure=asdict(describe(error, SERVER_RANK, socket.gethostname(), 0)))
        raise SystemExit(1) from None


def _serve(post: Post, say: Say) -> None:
    log = EventLog(RunFolder(post.job.run), post.attempt, lambda event: say(EVENT, event=event))
    with closing(log):
        conductor = open_server(post.job, open_dataset(post.job.dataset), log, post.attempt, post.workers)
        with closing(conductor), closing(Listener(conductor, post.keys, post.bind)) as listener:
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


def _post(source: BinaryIO) -> Post:
    """What the driver wrote: its length, and a pickle that only the driver of this process can have written."""
    size = int.from_bytes(source.read(8), "little")
    post = pickle.loads(source.read(size))
    assert isinstance(post, Post)
    return post


def _end_with_driver() -> None:
    """Ends this process when the driver has closed its end, as it has if it was killed."""
    # Not through sys.stdin, whose lock would stand in the way of an orderly end.
    while os.read(0, 1 << 10):
        pass
    os._exit(1)


if __name__ == "__main__":
    # By its own name, so that what the driver pickled is of the same class.
    from echelon.server import child

    child.main()
