"""The driver's end of the server's process."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from echelon.errors import CommunicationError
from echelon.server.born import nursery
from echelon.server.child import ALIVE, BORN, ENDED, EVENT, FAILED, FINISHED, READY, SERVER_RANK, Place, Post
from echelon.server.keys import Address
from echelon.server.near import near_end
from echelon.train.failure import Failure, to_error
from echelon.train.progress import Progress
from echelon.train.run import Event

OPEN_SECONDS = 600.0
"""How long the server may take to make its model, or to read it from the newest checkpoint."""
SILENT_SECONDS = 120.0
END_SECONDS = 10.0


class ServerProcess:
    """A server in a process of its own, for the length of a block. It ends with this process at the latest.

    pid: of the process, once `address` or `poll` has heard of it.
    """

    def __init__(self, post: Post, packed: bytes, host: str, on_event: Callable[[Event], None]) -> None:
        """
        Args:
            packed: the pickle of the post. host: the driver's address, as workers know it. on_event: called by `poll`.
        """
        self._post, self._host, self._on_event = post, host, on_event
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._port: int | None = None
        self._ended = False
        self.pid: int | None = None
        self.progress: Progress | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="echelon-server-")
        self._near = near_end(self._folder.name)
        self._heard = time.monotonic()
        child = nursery().child()
        self._input = child.input
        threading.Thread(target=self._listen, args=(child.said,), name="server", daemon=True).start()
        place = pickle.dumps(Place.here(self._folder.name))
        with contextlib.suppress(BrokenPipeError):  # then it says why
            for part in (place, packed):
                self._input.write(len(part).to_bytes(8, "little") + part)
            self._input.flush()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, if it has not ended by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._drain(END_SECONDS)
        if not self._ended and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._drain(END_SECONDS)
        self._folder.cleanup()

    def _drain(self, seconds: float) -> None:
        """Drops what it still says, until it has ended."""
        end = time.monotonic() + seconds
        while not self._ended:
            try:
                said = self._said.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                return
            if said is None or said["kind"] == ENDED:
                self._ended = True
            elif said["kind"] == BORN:
                self.pid = said["pid"]

    def address(self) -> Address:
        """Where workers find it, once it is ready.

        Raises:
            EchelonError: it failed. CommunicationError: it is not ready in time.
        """
        while self._port is None:
            self.poll(0.1)
        return self._post.keys.address(self._host, self._port, self._near)

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
        if said is None or said["kind"] == ENDED:
            self._ended = True
            how = f"with code {said['code']}" if said else "without a word"
            raise CommunicationError(f"the process of the parameter server ended {how}")
        kind = said["kind"]
        if kind == EVENT:
            self._on_event(said["event"])
        elif kind == BORN:
            self.pid = said["pid"]
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
