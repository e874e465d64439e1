"""What has come of a file so far, and what it came from: NAME.part, and NAME.part.json beside it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from echelon.download.file import File
from echelon.download.locked import locked
from echelon.errors import StorageError


class Part:
    """The beginning of a file on the disk. Made by `Part.of`, which keeps other processes away from it."""

    def __init__(self, file: File, path: Path, content: FileIO) -> None:
        self.file, self.path, self._content = file, path, content

    @classmethod
    @contextmanager
    def of(cls, file: File, folder: Path) -> Iterator[Part]:
        """
        Raises:
            EchelonError: another process downloads the same file to this folder. StorageError: it cannot be written.
        """
        path = folder / f"{file.name}.part"
        # On a network file system without locks the checksum tells if two have written.
        with locked(path, "downloading") as content:
            part = cls(file, path, content)
            try:
                yield part
            finally:
                if not part.size:
                    part.discard()

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._content.tell()

    def validator(self) -> str | None:
        """What the server calls the version that this is the beginning of (RFC 9110, 13.1.5), if it is the same URL."""
        said = self._said()
        return said.get("validator") if said.get("url") == self.file.url else None

    def begin(self, validator: str | None) -> None:
        """Forgets what has come; from here on comes another version."""
        self._content.seek(0)
        self._content.truncate()
        self._record.write_text(json.dumps({"url": self.file.url, "validator": validator}))

    def add(self, data: bytes) -> None:
        """
        Raises:
            StorageError: the disk is full, or does not take it for another reason.
        """
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._content.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def require_room(self, size: int) -> None:
        """
        Raises:
            StorageError: the disk has less room than what is still to come of `size` bytes.
        """
        missing, free = size - self.size, shutil.disk_usage(self.path.parent).free
        if missing > free:
            raise StorageError(
                f"{self.file.name} needs {missing / 1e6:,.1f} MB more, but {self.path.parent} has room for "
                f"{free / 1e6:,.1f} MB: make room, or choose another folder"
            )

    def flush(self) -> None:
        """Puts onto the disk what has come.

        Raises:
            StorageError: the disk is full, or does not take it for another reason.
        """
        try:
            os.fsync(self._content.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def move_to(self, target: Path) -> None:
        """Gives the file its name, in place of one that has it."""
        os.replace(self.path, target)
        self._record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Deletes what has come."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _said(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads(self._record.read_text()))
        return {}

    def _unwritable(self, error: OSError) -> StorageError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; make room" if full else f"{error.strerror}; mend that"
        return StorageError(f"{self.path} cannot be written, {reason} and run this again: it goes on from there")
