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

_lock = threading.Lock()
_users = 0
_idle: threading.Timer | None = None


@contextmanager
def kept_memory() -> Iterator[None]:
    """For the length of the block, freed memory is kept by the process, most of it as long as torch computes.

    Some seconds after the outermost block, if none has begun since, what is unused goes back to the system, and malloc
    has the thresholds that glibc itself arrives at in a process that has freed a large block.
    """
    global _users, _idle
    with _lock:
        _users += 1
        if _idle is not None:
            _idle.cancel()
            _idle = None
        _set((_TRIM_THRESHOLD, _NEVER), (_MMAP_MAX, 0))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _idle = threading.Timer(IDLE_SECONDS, _end)
                _idle.daemon = True
                _idle.start()


def _end() -> None:
    global _idle
    with _lock:
        if _users or threading.current_thread() is not _idle:
            return
        _idle = None
        _set(
            (_TRIM_THRESHOLD, 2 * _GREATEST_THRESHOLD),
            (_MMAP_THRESHOLD, _GREATEST_THRESHOLD),
            (_MMAP_MAX, _DEFAULT_MMAP_MAX),
        )
        give_back()


def give_back() -> None:
    """Gives memory that is not used back to the system; that of Arrow's allocator, too, if it is loaded."""
    if (library := glibc()) is not None:
        library.malloc_trim(0)
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()


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
