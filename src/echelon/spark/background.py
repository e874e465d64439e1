"""A Spark job that runs in a thread of its own, so that the driver can watch it and end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CANCEL_SECONDS = 15.0


@dataclass(frozen=True)
class Tasks:
    """Tasks of a job: of all its stages that Spark has planned so far."""

    done: int
    planned: int


class Collectable(Protocol):
    """A DataFrame, or an RDD."""

    def collect(self) -> list[Any]: ...


class BackgroundJob:
    """Collects the rows of a DataFrame or RDD.

    rows, error: what came out, once it is over.
    """

    def __init__(self, session: SparkSession, plan: Callable[[], Collectable], group: str, description: str) -> None:
        """
        Args:
            plan: says what to collect, in the thread of the job. group: names it, apart from every other job.
            description: what Spark's own pages say of it.
        """
        from pyspark import InheritableThread

        self._context = session.sparkContext
        self._plan, self._group, self._description = plan, group, description
        self.rows: list[Any] = []
        self.error: BaseException | None = None
        self._over = threading.Event()
        self._thread = InheritableThread(target=self._run, name=group, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._context.setJobGroup(self._group, self._description, interruptOnCancel=True)
            self.rows = _rows(self._plan())
        except BaseException as error:
            self.error = error
        finally:
            self._over.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is over, after so long at most."""
        return self._over.wait(seconds)

    def tasks(self) -> Tasks:
        """How far Spark has come."""
        tracker = self._context.statusTracker()
        done = planned = 0
        for job in tracker.getJobIdsForGroup(self._group):
            info = tracker.getJobInfo(job)
            for stage in map(tracker.getStageInfo, info.stageIds if info else ()):
                if stage is not None:
                    done, planned = done + stage.numCompletedTasks, planned + stage.numTasks
        return Tasks(done, planned)

    def cancel(self) -> None:
        """Ends it, if it is not over. Asked again and again, as Spark forgets it for a job that has not begun."""
        deadline = time.monotonic() + _CANCEL_SECONDS
        while not self._over.is_set() and time.monotonic() < deadline:
            with suppress(Exception):
                self._context.cancelJobGroup(self._group)
            self._over.wait(0.3)


def _rows(collectable: Collectable) -> list[Any]:
    # Rows that are collected are pickled by Java, letter by letter for binary: half a second for some megabytes.
    if hasattr(collectable, "toArrow"):
        return collectable.toArrow().to_pylist()
    return collectable.collect()
