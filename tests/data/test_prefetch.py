"""Items made ahead by a thread: in order, not too many, errors after the items before them, and no thread left."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from echelon.data import prefetch
from echelon.data.prefetch import Prefetcher
from echelon.errors import StorageError


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "counting"]


class Counting:
    """Numbers, the last of which may be an error; knows how many were made and whether it was closed."""

    def __init__(self, numbers: int, error: BaseException | None = None) -> None:
        self.made, self.closed = 0, threading.Event()
        self._numbers, self._error = numbers, error

    def items(self) -> Iterator[int]:
        try:
            for number in range(self._numbers):
                self.made += 1
                yield number
            if self._error:
                raise self._error
        finally:
            self.closed.set()


def test_all_items_in_order_and_the_end_for_good() -> None:
    items = Prefetcher(Counting(100).items(), 3, "counting")
    assert list(items) == list(range(100))
    assert list(items) == []
    assert not threads()


@pytest.mark.parametrize("depth", [1, 4])
def test_no_more_ahead_than_asked_for(depth: int) -> None:
    counting = Counting(1000)
    items = Prefetcher(counting.items(), depth, "counting")
    assert next(items) == 0
    time.sleep(0.2)
    assert counting.made <= 1 + depth + 1
    items.close()
    assert not threads()


def test_an_error_comes_after_the_items_before_it() -> None:
    items = Prefetcher(Counting(5, ValueError("six")).items(), 2, "counting")
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="six"):
        next(items)
    assert list(items) == []
    assert not threads()


@pytest.mark.parametrize("forget", [False, True])
def test_closing_or_forgetting_ends_the_thread_and_its_items(forget: bool) -> None:
    counting = Counting(10**9)
    items = Prefetcher(counting.items(), 2, "counting")
    next(items)
    if not forget:
        assert items.close()
    del items
    gc.collect()
    assert counting.closed.wait(5)
    for thread in threading.enumerate():
        if thread.name == "counting":
            thread.join(5)
    assert not threads()


def test_waiting_is_counted_and_has_an_end() -> None:
    go = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        go.wait(30)
        yield 2

    slow = Prefetcher(items(), 1, "counting", deadline=0.2, first_deadline=30)
    assert next(slow) == 1
    with pytest.raises(StorageError, match=r"counting: nothing came within 0\.2 s; is its storage up\?"):
        next(slow)
    assert 0.2 <= slow.seconds_waiting < 5
    began = time.monotonic()
    assert not slow.close()
    assert time.monotonic() - began < 1
    go.set()


def test_a_thread_that_waits_for_room_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "_POLL", 600.0)
    full = Prefetcher(iter(range(100)), 2, "numbers")
    assert next(full) == 0
    assert full.close(wait=10.0)
