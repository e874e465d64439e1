"""The same done to several items by some threads at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def in_threads(act: Callable[[Item], None], items: Iterable[Item], threads: int) -> None:
    """Do something to each item. Returns when all threads have ended, the calling one among them.

    After an error no further item is begun; the first error is raised. The threads end with the process, which one
    that waits for a stalled storage must not keep alive.
    """
    todo = deque(items)
    errors: list[BaseException] = []

    def work() -> None:
        while todo and not errors:
            try:
                item = todo.popleft()
            except IndexError:
                return
            try:
                act(item)
            except BaseException as error:
                errors.append(error)

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(todo)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
