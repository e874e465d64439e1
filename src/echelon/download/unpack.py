"""A tar archive's files in a folder: all of them or none, and nothing outside of it."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from lzma import LZMAError
from pathlib import Path

from echelon.errors import DataError, EchelonError, StorageError


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpacks a tar archive, compressed or not; what it has put into the folder, sorted.

    Links out of the folder, absolute names and devices are refused (the "data" filter of PEP 706). What was unpacked
    before and is the same stays; the files appear together, so a killed unpacking leaves nothing that looks whole.

    Raises:
        DataError: the archive is damaged, or wants to write elsewhere; or something else has the name that an entry
        wants. StorageError: the disk is full.
    """
    scratch = folder / f".{archive.name}.unpacking"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        _extract(archive, scratch)
        entries = sorted(scratch.iterdir())
        for entry in entries:
            _place(entry, folder / entry.name, archive)
        return [folder / entry.name for entry in entries]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise EchelonError("this Python cannot unpack safely: use Python 3.11.4 or newer")
    try:
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
            # The checksum of a compressed file stands behind its last byte, where no member is.
            while members.fileobj is not None and members.fileobj.read(1 << 20):
                pass
    except tarfile.FilterError as error:
        raise DataError(f"{archive} is not unpacked, it wants to write where it must not: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, LZMAError, OSError) as error:
        # A wrong checksum is an OSError too, but none of the system, which gives each of its own a number.
        if not isinstance(error, OSError) or error.errno is None:
            raise DataError(f"{archive} is damaged ({error}): delete it and download it again") from None
        raise StorageError(f"{archive} cannot be unpacked in {folder.parent}: {error}") from error


def _place(entry: Path, target: Path, archive: Path) -> None:
    if not target.exists():
        os.replace(entry, target)
    elif _sizes(entry) != _sizes(target):
        raise DataError(
            f"{target} is there already, and is not what {archive.name} holds: move it away, or choose another folder"
        )


def _sizes(path: Path) -> dict[str, int]:
    """By relative path the bytes of every file."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.stat().st_size for file in files}
