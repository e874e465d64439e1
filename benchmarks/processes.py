"""What all processes of a benchmark cost, Spark's Java and its workers among them."""

from __future__ import annotations

import threading

import psutil

MB = 1 << 20


def used() -> float:
    """Seconds of CPU of this process, Spark's Java and all of its workers, so far."""
    here = psutil.Process()
    of_each = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in of_each)


class Peaks:
    """The largest resident memory of each kind of process below this one, in MB, while it is a context."""

    def __init__(self) -> None:
        self.of_kind: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    kind, size = process.name(), process.memory_info().rss / MB
                except psutil.Error:
                    continue
                self.of_kind[kind] = max(self.of_kind.get(kind, 0), size)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
