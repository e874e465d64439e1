"""The driver's end of the server's process."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from echelon.errors import CommunicationError
from echelon.server.child import ALIVE, EVENT, FAILED, FINISHED, READY, SERVER_RANK, Post
from echelon.server.keys import Address
from echelon.train.failure import Failure, to_error
from echelon.train.progress import Progress
from echelon.train.run import Event

OPEN_SECONDS = 600.0
"""How long the server may take to make its model, or to read it from the newest checkpoint."""
SILENT_SECONDS = 120.0
END_SECONDS = 10.0


class ServerProcess:
    """A server in a process of its own, for the length of a block. It ends with this process at the latest."""

    def __init__(self, post: Post, packed: bytes, host: str, on_event: Callable[[Event], None]) -> None:
        """
        Args:
            packed: the pickle of the post. host: the driver's address, as workers know it. on_event: called by `poll`.
        """
        self._post, self._host, self._on_event = post, host, on_event
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._port: int | None = None
        self.progress: Progress | None = None
        reading, writing = os.pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)}
        with os.fdopen(writing, "w") as end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "echelon.server.child", str(end.fileno())],
                stdin=subprocess.PIPE, pass_fds=(end.fileno(),), env=environment,
                start_new_session=True,  # Ctrl-C is for the driver, which ends this one
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(reading,), name="server", daemon=True).start()
        self._heard = time.monotonic()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it says why
            self._process.stdin.write(len(packed).to_bytes(8, "little") + packed)
            self._process.stdin.flush()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, if it has not ended by itself."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def address(self) -> Address:
        """Where workers find it, once it is ready.

        Raises:
            EchelonError: it failed. CommunicationError: it is not ready in time.
        """
        while self._port is None:
            self.poll(0.1)
        return self._post.keys.address(self._host, self._port)

    def poll(self, seconds: float) -> bool:
        """Hands on what it has said, for at most so long; whether the training is over: see `progress`.

        Raises:
            EchelonError: the root cause of a failure, its own or a worker's.
            CommunicationError: it died, or says nothing any more.
        """
        end = time.monotonic() + seconds
        while self.progress is None:
            try:
                said = self._said.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                self._notice_silence()
                return False
            self._heard = time.monotonic()
            self._take(said)
        return True

    def _take(self, said: dict[str, Any] | None) -> None:
        if said is None:
            code = self._process.wait(END_SECONDS)
            raise CommunicationError(f"the process of the parameter server ended with code {code}")
        kind = said["kind"]
        if kind == EVENT:
            self._on_event(said["event"])
        elif kind == READY:
            self._port = said["port"]
        elif kind == FINISHED:
            self.progress = Progress.from_json(said["progress"])
        elif kind == FAILED:
            failure = Failure(**said["failure"])
            raise to_error(failure, unit="the server" if failure.rank == SERVER_RANK else "worker")
        else:
            assert kind == ALIVE

    def _notice_silence(self) -> None:
        limit, phase = (OPEN_SECONDS, "to begin") if self._port is None else (SILENT_SECONDS, "since its last word")
        if time.monotonic() - self._heard > limit:
            raise CommunicationError(f"the process of the parameter server has taken {limit:.0f} s {phase}")

    def _listen(self, reading: int) -> None:
        with os.fdopen(reading) as source:
            for line in source:
                self._said.put(json.loads(line))
        self._said.put(None)
