"""Writes checkpoints on a thread, one at a time, while training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from echelon.errors import StorageError
from echelon.train.checkpoint import Part, commit, delete_older, folder_of, write_part
from echelon.train.run import RunFolder
from echelon.world import World

COMMIT_SECONDS = 300.0

Committed = Callable[[int, str, int, float], None]
Remark = Callable[[int, str], None]


class CheckpointWriter:
    """The checkpoints of one rank.

    committed(step, path, bytes, seconds) is called on rank 0's thread when a checkpoint counts, remark(step, text)
    when something is not as it should be that does not stand in the way of training.
    """

    def __init__(self, run: RunFolder, world: World, keep: int, committed: Committed, remark: Remark) -> None:
        self._run, self._world, self._keep = run, world, keep
        self._committed, self._remark = committed, remark
        self._undeleted = False
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def write(self, step: int, part: Part, parts: int) -> None:
        """Begins to write this rank's part of the checkpoint of a step; waits for the one before, if it is not done.

        parts: how many ranks, from rank 0 on, write one.

        Raises:
            StorageError: the one before could not be written.
        """
        self.wait()
        if self._world.rank >= parts:
            return
        self._thread = threading.Thread(target=self._work, args=(step, part, parts), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when nothing is being written.

        Raises:
            StorageError: what was being written could not be.
        """
        if self._thread is not None:
            self._thread.join(timeout=2 * COMMIT_SECONDS)
            if self._thread.is_alive():
                raise StorageError(f"{self._world}: a checkpoint was not written within {2 * COMMIT_SECONDS:.0f} s")
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raises what went wrong on the thread, if anything did."""
        if self._error is not None:
            error, self._error = self._error, None
            raise StorageError(f"{self._world}: a checkpoint could not be written: {error}") from error

    def _work(self, step: int, part: Part, parts: int) -> None:
        try:
            start = time.perf_counter()
            path = folder_of(self._world.attempt, step)
            folder = self._run.storage.child(path)
            files = write_part(folder, self._world.rank, part)
            if self._world.is_first:
                size = commit(folder, files, parts, COMMIT_SECONDS)
                self._committed(step, path, size, time.perf_counter() - start)
                self._delete_older(step)
        except BaseException as error:
            self._error = error
            # What there is of it is no use, and on a full disk stands in the way of saying what happened.
            with suppress(Exception):
                self._run.storage.delete_tree(folder_of(self._world.attempt, step))

    def _delete_older(self, step: int) -> None:
        """Best effort: who may not delete can still train. It is said once, and tried again with each checkpoint."""
        try:
            delete_older(self._run, self._world.attempt, self._keep)
        except Exception as error:
            if not self._undeleted:
                self._remark(step, f"old checkpoints could not be deleted and stay: {error}")
            self._undeleted = True
