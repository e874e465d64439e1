"""What happened during a training, written while it goes on and never in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from echelon.errors import StorageError
from echelon.train.run import EVENTS, Event, RunFolder, as_json

Tell = Callable[[Event], None]

LATE = ("checkpoint", "sample", "remark")
"""Kinds of events of what is done beside the training: they are told when it has gone on from their step."""
FIRST_FLUSH_SECONDS = 1.0
LONGEST_FLUSH_SECONDS = 30.0


class EventLog:
    """The events of one attempt: told to the driver at once, and written to the run's folder by a thread.

    Files are written at growing intervals, since each is a new object. A storage that fails is tried again with the
    next file; what could not be written by the end is raised by `close`.
    """

    def __init__(self, run: RunFolder, attempt: int, tell: Tell) -> None:
        self._run, self._attempt, self._tell = run, attempt, tell
        self._pending: list[Event] = []
        self._files = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._flush_from_time_to_time, name="events", daemon=True)
        self._thread.start()

    def add(self, kind: str, *, step: int, epoch: float, seconds: float, **values: Any) -> None:
        """Remembers an event. `seconds` of training count over all attempts."""
        event = {"kind": kind, "step": step, "epoch": epoch, "seconds": seconds, "attempt": self._attempt, **values}
        with self._lock:
            self._pending.append(event)
        self._tell(event)

    def close(self) -> None:
        """Writes what is left.

        Raises:
            StorageError: it cannot be written.
        """
        self._closing.set()
        self._thread.join(timeout=60)
        self._flush()

    def _flush_from_time_to_time(self) -> None:
        pause = FIRST_FLUSH_SECONDS
        while not self._closing.wait(pause):
            pause = min(1.5 * pause, LONGEST_FLUSH_SECONDS)
            try:
                self._flush()
            except StorageError:
                continue

    def _flush(self) -> None:
        with self._lock:
            events = self._pending
            if not events:
                return
            lines = "".join(as_json(event) + "\n" for event in events)
            path = f"{EVENTS}/{self._attempt}-{self._files:05d}.jsonl"
            self._pending = []
        try:
            self._run.storage.write(path, lines.encode())
            self._files += 1
        except StorageError:
            with self._lock:
                self._pending = events + self._pending
            raise


class NoLog:
    """The log of the ranks that do not write one."""

    def add(self, kind: str, *, step: int, epoch: float, seconds: float, **values: Any) -> None:
        """Forgets the event."""

    def close(self) -> None:
        """Has nothing to write."""
