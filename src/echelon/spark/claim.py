"""One of a host's GPUs for each of the tasks that run there at the same time, of whatever executor.

Tasks know nothing of each other, and their numbers do not tell which of them share a host. So each locks a file that
stands for a GPU; the system itself unlocks it when the process ends. The folder of these files has a name that others
can guess, so nothing in it is trusted: it must be the user's own, links are not followed, and no file is emptied.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from echelon.errors import EchelonError


@contextmanager
def claimed(names: Sequence[str], folder: Path | None = None) -> Iterator[int]:
    """The number of a GPU that no more tasks have claimed than any other; never waits.

    Args:
        names: what tells each GPU from all others of the host, in the same order for all. folder: of the locks.

    Raises:
        EchelonError: the folder belongs to somebody else, or files cannot be locked there.
    """
    if not names:
        raise EchelonError("there is no GPU to claim on this host: let Spark give out those that there are")
    place = folder or Path(tempfile.gettempdir(), f"echelon-gpus-{os.getuid()}")
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        _check_own(place)
        index, lock = next(
            (index, lock)
            for depth in count()
            for index, name in enumerate(names)
            if (lock := _locked(place / f"{name}-{depth}")) is not None
        )
    except OSError as error:
        raise EchelonError(
            f"GPUs cannot be shared out by locks in {place} ({error.strerror}): delete it, or set TMPDIR to a local "
            "folder that is your own"
        ) from error
    try:
        yield index
    finally:
        os.close(lock)


def _check_own(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise EchelonError(
            f"{folder} is not a folder that only this user can write, so its locks say nothing: delete it, or set "
            "TMPDIR to a folder that is your own"
        )


def _locked(path: Path) -> int | None:
    """The descriptor of the file if nobody else has locked it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file
