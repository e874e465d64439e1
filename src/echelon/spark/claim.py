"""One of a host's GPUs for each of the tasks that run there at the same time, of whatever executor.

Tasks know nothing of each other, and their numbers do not tell which of them share a host. So each locks a file that
stands for a GPU; the system itself unlocks it when the process ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO


@contextmanager
def claimed(names: Sequence[str], folder: Path | None = None) -> Iterator[int]:
    """The number of a GPU that no more tasks have claimed than any other; never waits.

    Args:
        names: what tells each GPU from all others of the host, in the same order for all. folder: of the locks.
    """
    place = folder or Path(tempfile.gettempdir(), f"echelon-gpus-{os.getuid()}")
    place.mkdir(mode=0o700, exist_ok=True)
    index, lock = next(
        (index, lock)
        for depth in count()
        for index, name in enumerate(names)
        if (lock := _locked(place / f"{name}-{depth}")) is not None
    )
    with lock:
        yield index


def _locked(path: Path) -> IO[bytes] | None:
    """The open file if nobody else has locked it."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
