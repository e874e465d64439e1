"""Single files out of a zip archive from strangers, each of them whole or not at all."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import IO

from echelon.errors import DataError, StorageError

_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, LZMAError)
# What is encrypted, or packed in a way that Python does not know, is a RuntimeError.
_CLOSED = (*_DAMAGE, RuntimeError)


class Zip:
    """The files in a zip archive. Made by `Zip.of`.

    Where a file is put is said by the caller, never by the archive, so that none can lead out of a folder.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._members = {info.filename: info for info in archive.infolist() if _is_file(info)}

    @classmethod
    @contextmanager
    def of(cls, path: Path) -> Iterator[Zip]:
        """
        Raises:
            DataError: it is no zip archive, or damaged.
        """
        try:
            archive = zipfile.ZipFile(path)
        except (*_CLOSED, ValueError) as error:
            raise DataError(f"{path} is no whole zip archive ({error}): delete it and download it again") from None
        with archive:
            yield cls(path, archive)

    @property
    def names(self) -> frozenset[str]:
        """Of its files; folders and links are none."""
        return frozenset(self._members)

    def size(self, name: str) -> int:
        """Bytes of a file once it is unpacked, as the archive says; no more will ever be read of it.

        Raises:
            DataError: there is none of this name.
        """
        return self._info(name).file_size

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """A file, to be read from its beginning to its end, where its checksum is verified.

        Raises:
            DataError: there is none of this name, or it is damaged.
        """
        info = self._info(name)
        try:
            content = self._archive.open(info)
        except _CLOSED as error:
            raise self._damaged(name, error) from None
        with content:
            try:
                yield content
            except _DAMAGE as error:
                raise self._damaged(name, error) from None
            except OSError as error:
                # What is not of the system, which gives each of its own a number, is of the unpacking.
                if error.errno is None:
                    raise self._damaged(name, error) from None
                raise

    def bring(self, name: str, target: Path) -> None:
        """Unpacks a file under a name of the caller's, in place of one that has it.

        Raises:
            DataError: as `opened`; nothing is left of it then. StorageError: the disk is full, or does not take it.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            with self.opened(name) as content, part.open("wb") as written:
                while data := content.read(_CHUNK):
                    written.write(data)
                written.flush()
                os.fsync(written.fileno())
            os.replace(part, target)
        except DataError:
            part.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise StorageError(f"{part} cannot be written: {error.strerror or error}") from error

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self._members:
            raise DataError(f"{self.path.name} has no file {name}")
        return self._members[name]

    def _damaged(self, name: str, error: Exception) -> DataError:
        return DataError(f"{name} in {self.path.name} is damaged, or packed in a way that is not known ({error})")


def _is_file(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return not info.is_dir() and kind in (0, stat.S_IFREG)
