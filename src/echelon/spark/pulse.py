"""Signs of life and news from the workers, through the store: heartbeats and small events.

All of it is best effort in one direction: what goes wrong here never stops a job, but silence is noticed.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from echelon.spark.failure import Failure

BEAT_SECONDS = 2.0
_QUEUED_EVENTS = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Present:
    """A rank that has come: on which host, at which address, in which process."""

    rank: int
    host: str
    address: str
    pid: int

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @staticmethod
    def from_json(text: str | bytes) -> Present:
        return Present(**json.loads(text))

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host}"


class Pulse:
    """A worker's thread that beats and sends events, over a connection of its own."""

    def __init__(self, store: dist.Store, rank: int) -> None:
        self._store = store
        self._rank = rank
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue(_QUEUED_EVENTS)
        self._thread = threading.Thread(target=self._run, name="echelon-pulse", daemon=True)
        self._thread.start()

    def tell(self, event: dict[str, Any]) -> None:
        """Sends an event when there is time; drops it when too many wait."""
        try:
            self._events.put_nowait(dict(event))
        except (queue.Full, TypeError, ValueError):
            _log.debug("an event was dropped")

    def close(self, seconds: float = 2.0) -> None:
        """Sends what waits, for so long at most."""
        try:
            self._events.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        beats = sent = 0
        next_beat = time.monotonic()
        try:
            while True:
                if time.monotonic() >= next_beat:
                    self._store.set(f"beat/{self._rank}", str(beats := beats + 1))
                    next_beat = time.monotonic() + BEAT_SECONDS
                try:
                    event = self._events.get(timeout=max(next_beat - time.monotonic(), 0.0))
                except queue.Empty:
                    continue
                if event is None:
                    return
                sent += self._send(event, sent)
        except RuntimeError:
            # The driver is gone. Spark ends this process, and the training does not depend on its news.
            return

    def _send(self, event: dict[str, Any], number: int) -> bool:
        try:
            text = json.dumps({**event, "rank": self._rank})
        except (TypeError, ValueError) as error:
            _log.warning("an event is no JSON and was dropped: %s", error)
            return False
        self._store.set(f"event/{self._rank}/{number}", text)
        return True


class Watch:
    """The driver's view of a gang. Times are those at which the driver saw something: clocks are never compared."""

    def __init__(self, store: dist.Store, size: int, on_event: Callable[[dict[str, Any]], None] | None) -> None:
        self._store = store
        self.size = size
        self._on_event = on_event
        self._next_event = [0] * size
        self._beats: dict[int, tuple[bytes, float]] = {}
        self.present: dict[int, Present] = {}
        self.ready: set[int] = set()
        self.failures: dict[int, Failure] = {}
        self.done: set[int] = set()

    def poll(self) -> None:
        """Reads what is new. Never waits: only keys that exist are read."""
        for rank in range(self.size):
            if rank not in self.present and (text := self._read(f"present/{rank}")) is not None:
                self.present[rank] = Present.from_json(text)
            if rank not in self.present:
                continue
            if rank not in self.ready and self._store.check([f"ready/{rank}"]):
                self.ready.add(rank)
            if rank not in self.done and self._store.check([f"done/{rank}"]):
                self.done.add(rank)
            if rank not in self.failures and (text := self._read(f"failure/{rank}")) is not None:
                self.failures[rank] = Failure.from_json(text)
            beat = self._read(f"beat/{rank}") or b""
            if self._beats.get(rank, (None,))[0] != beat:
                self._beats[rank] = (beat, time.monotonic())
            self._read_events(rank)

    def missing(self) -> list[int]:
        """Ranks that have not come."""
        return [rank for rank in range(self.size) if rank not in self.present]

    def silent(self, seconds: float) -> list[Present]:
        """Ranks that should work and of which nothing was heard for so long."""
        now = time.monotonic()
        return [
            self.present[rank]
            for rank, (_, heard) in sorted(self._beats.items())
            if rank not in self.done and rank not in self.failures and now - heard > seconds
        ]

    def wordless(self) -> list[str]:
        """Members that neither finished nor said why not."""
        return [str(p) for rank, p in sorted(self.present.items()) if rank not in self.done | self.failures.keys()]

    def _read(self, key: str) -> bytes | None:
        return self._store.get(key) if self._store.check([key]) else None

    def _read_events(self, rank: int) -> None:
        while (text := self._read(key := f"event/{rank}/{self._next_event[rank]}")) is not None:
            self._store.delete_key(key)
            self._next_event[rank] += 1
            if self._on_event is not None:
                try:
                    self._on_event(json.loads(text))
                except Exception:
                    # Whoever shows progress must not be able to stop a training.
                    _log.warning("an event could not be handled", exc_info=True)
