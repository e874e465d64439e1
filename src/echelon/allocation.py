"""Memory that is freed and wanted again in every forward pass stays with the process.

glibc gives large blocks back to the system when they are freed, so each pass over a convolutional network asks for
hundreds of megabytes anew and has every page of them cleared: a third to a half of the time of small networks. The
same holds for one call after another, and dearer on a virtual machine, whose host may have taken the pages back. See
mallopt(3). Elsewhere (musl, macOS, Windows) nothing is done.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_GREATEST_THRESHOLD = 32 << 20
_DEFAULT_MMAP_MAX = 65536
IDLE_SECONDS = 10.0
"""How long memory waits for the next block that wants it: what a person at a notebook or a loop does between two."""

# A garbage collection may end an abandoned block while another one begins.
_lock = threading.RLock()
_users = 0
_idle: threading.Timer | None = None


@contextmanager
def kept_memory() -> Iterator[None]:
    """For the length of the block, freed memory is kept by the process, most of it as long as torch computes.

    After the outermost block malloc has the thresholds that glibc itself arrives at in a process that has freed a large
    block; and some seconds later, if no other has begun since, what is unused goes back to the system.
    """
    _begin()
    try:
        yield
    finally:
        _leave()


def _begin() -> None:
    global _users, _idle
    with _lock:
        _users += 1
        waiting, _idle = _idle, None
        _set((_TRIM_THRESHOLD, _NEVER), (_MMAP_MAX, 0))
    if waiting is not None:
        waiting.cancel()


def _leave() -> None:
    global _users, _idle
    with _lock:
        _users -= 1
        # No thread can begin any more where the interpreter ends within a block, as in a generator that was left.
        if _users or sys.is_finalizing():
            return
        # At once: large blocks of others would lie among small ones, and could not be given back with them.
        _set((_MMAP_THRESHOLD, _GREATEST_THRESHOLD), (_MMAP_MAX, _DEFAULT_MMAP_MAX))
        waiting = _idle = threading.Timer(IDLE_SECONDS, _end)
    waiting.daemon = True
    try:
        waiting.start()
    except RuntimeError:  # no thread is left to be had
        give_back()


def _end() -> None:
    global _idle
    with _lock:
        if _users or threading.current_thread() is not _idle:
            return
        _idle = None
        _set((_TRIM_THRESHOLD, 2 * _GREATEST_THRESHOLD))
    give_back()


def _after_fork() -> None:
    """The child has no thread that waits, and its lock may be held by one that it does not have."""
    global _lock, _idle
    _lock, waiting, _idle = threading.RLock(), _idle, None
    if waiting is not None:
        _set((_TRIM_THRESHOLD, 2 * _GREATEST_THRESHOLD))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def give_back() -> None:
    """Gives memory that is not used back to the system."""
    if (library := glibc()) is not None:
        library.malloc_trim(0)


@cache
def glibc() -> ctypes.CDLL | None:
    """The C library of this process if it is glibc."""
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return None
    except (AttributeError, ValueError, OSError):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(*options: tuple[int, int]) -> None:
    if (library := glibc()) is not None:
        for name, value in options:
            library.mallopt(name, value)
