"""A file that one process at a time has, although processes rename and delete such files while others open them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from echelon.errors import EchelonError, StorageError

_TRIES = 20


@contextmanager
def locked(path: Path, doing: str) -> Iterator[FileIO]:
    """The file, open to append to and locked (flock); it is made, with its folder, where there is none.

    Who holds the lock may rename or delete the file. On a network file system without locks, nobody is kept away.

    Args:
        doing: what a process that has the lock is doing, for the message: "downloading".

    Raises:
        EchelonError: another process has it. StorageError: it cannot be written.
    """
    taken = f"another process is {doing} {path}: wait for it, or take another folder"
    for _ in range(_TRIES):
        with _opened(path) as content:
            try:
                fcntl.flock(content, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EchelonError(taken) from None
            except OSError:
                yield content
                return
            # Who had the lock may have given the file another name between our opening it and our locking it.
            if _is_at(path, content):
                yield content
                return
    raise EchelonError(taken)


def _opened(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): choose another folder") from error


def _is_at(path: Path, content: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(content.fileno()))
    except FileNotFoundError:
        return False
