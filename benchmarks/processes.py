"""What all processes of a benchmark cost, Spark's Java and its workers among them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil

MB = 1 << 20
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def used() -> float:
    """Seconds of CPU of this process, Spark's Java and all of its workers, so far."""
    here = psutil.Process()
    of_each = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in of_each)


class Peaks:
    """The largest resident memory of each kind of process, in MB, while it is a context.

    Watched are the processes below this one, and Spark's executors on this machine with those below them.
    """

    def __init__(self) -> None:
        self.of_kind: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for kind, process in _watched():
                with suppress(psutil.Error):
                    self.of_kind[kind] = max(self.of_kind.get(kind, 0), process.memory_info().rss / MB)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _watched() -> Iterator[tuple[str, psutil.Process]]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            yield process.name(), process
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "java" and EXECUTOR in (process.info["cmdline"] or ()):
            with suppress(psutil.Error):
                yield "java of an executor", process
                yield from ((child.name(), child) for child in process.children(recursive=True))
