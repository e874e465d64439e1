"""Items made ahead of their use by a thread of their own."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from echelon.errors import StorageError

Item = TypeVar("Item")

_POLL = 0.2
_JOIN = 30.0


class _End:
    """What the thread puts last: the error that ended it, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetcher(Iterator[Item], Generic[Item]):
    """An iterator over `items` that are made by a thread, at most `depth` ahead.

    An error of the thread is raised here, after the items before it. `close` stops the thread, and so does forgetting
    this object. seconds_waiting: how long `next` has waited for the thread in total.

    deadline: most seconds to wait for one item. first_deadline: the same for the first one.
    """

    def __init__(
        self,
        items: Iterator[Item],
        depth: int,
        name: str,
        deadline: float = 600.0,
        first_deadline: float | None = None,
    ) -> None:
        self.seconds_waiting = 0.0
        self._name = name
        self._deadline = deadline
        self._patience = first_deadline or deadline
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        # The thread does not refer to this object, so that forgetting this object ends the thread.
        self._thread = threading.Thread(
            target=_produce, args=(items, self._queue, self._stop), name=name, daemon=True
        )  # fmt: skip
        weakref.finalize(self, self._stop.set)
        self._thread.start()

    def __next__(self) -> Item:
        if self._stop.is_set():
            raise StopIteration
        item = self._get()
        self._patience = self._deadline
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _get(self) -> Item | _End:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            pass
        began = time.monotonic()
        try:
            return self._queue.get(timeout=self._patience)
        except queue.Empty:
            self.close(wait=0.0)
            raise StorageError(f"{self._name}: nothing came within {self._patience:g} s; is its storage up?") from None
        finally:
            self.seconds_waiting += time.monotonic() - began

    def close(self, wait: float = _JOIN) -> bool:
        """Stop the thread, waiting for it so many seconds at most; what it has made is thrown away.

        Returns whether the thread has ended. One that waits for storage that stalls cannot be ended.
        """
        if not self._stop.is_set():
            self._stop.set()
            # It may be waiting for room.
            with suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(wait)
        return not self._thread.is_alive()


def _produce(items: Iterator[Item], ready: queue.Queue[Item | _End], stop: threading.Event) -> None:
    error = None
    try:
        for item in items:
            if not _put(ready, item, stop):
                return
    except BaseException as caught:
        error = caught
    finally:
        getattr(items, "close", lambda: None)()
    _put(ready, _End(error), stop)


def _put(ready: queue.Queue[Item | _End], item: Item | _End, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL)
            return not stop.is_set()
        except queue.Full:
            continue
    return False
