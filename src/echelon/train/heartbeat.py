"""Whether somebody still drives a run: a small file that is written again and again while it goes on.

A driver that is killed, or whose machine fails, writes no results; what it wrote before still says that the run is
going on. The age of its last sign of life says otherwise.

    heartbeat.json     {"time": ISO time, "every": seconds, "host": name, "process": number}
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from echelon.errors import DataError, StorageError
from echelon.train.results import RUNNING
from echelon.train.run import RunFolder

HEARTBEAT = "heartbeat.json"
BEAT_SECONDS = 20.0
SILENT_BEATS = 4.5
"""After how many beats that did not come a driver counts as gone: the clocks of two hosts may differ, and a storage may
be slow.
"""


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of a driver. time: ISO. every: seconds to the next one. process: its number on the host."""

    time: str
    every: float
    host: str
    process: int

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, last heard of at {self.time}"

    def silent(self, now: datetime | None = None) -> bool:
        """Whether the next ones should have come long ago."""
        age = (now or datetime.now(UTC)) - datetime.fromisoformat(self.time)
        return age.total_seconds() > SILENT_BEATS * self.every


def last_heartbeat(run: RunFolder) -> Heartbeat | None:
    """The last sign of life of whoever drives or drove a run; None if there is none, or none that can be read."""
    try:
        found = Heartbeat(**run.storage.read_json(HEARTBEAT))
        datetime.fromisoformat(found.time)
        return found
    except (FileNotFoundError, DataError, TypeError, ValueError):
        return None


def lost_driver(run: RunFolder) -> Heartbeat | None:
    """Who drove a run that is said to be going on and of whom nothing was heard for long; else None."""
    last = last_heartbeat(run) if run.results.get("state") == RUNNING else None
    return last if last is not None and last.silent() else None


@contextmanager
def beating(run: RunFolder, every: float = BEAT_SECONDS) -> Iterator[None]:
    """Gives signs of life for the length of the block. A storage that fails is tried again with the next one."""
    over = threading.Event()

    def beat() -> None:
        while True:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            with suppress(StorageError, OSError):  # its readers see that it is missing, which is all there is to say
                run.storage.write_json(HEARTBEAT, asdict(Heartbeat(now, every, socket.gethostname(), os.getpid())))
            if over.wait(every):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(every)
