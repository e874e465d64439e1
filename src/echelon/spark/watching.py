"""Whoever shows how far Spark has come, for all jobs that are run while it looks on.

A recipe's `prepare` may run several jobs, and need not know that somebody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from echelon.spark.background import Tasks

OnProgress = Callable[[Tasks], None]
_watcher: ContextVar[OnProgress | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(on_progress: OnProgress) -> Iterator[None]:
    """For the length of the block, in this thread, a function is told ten times a second of jobs that tell nobody."""
    token = _watcher.set(on_progress)
    try:
        yield
    finally:
        _watcher.reset(token)


def watcher() -> OnProgress | None:
    """Who is to be told here."""
    return _watcher.get()
