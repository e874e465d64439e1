"""A tar archive's files in a folder: all of them or none, and nothing outside of it."""

from __future__ import annotations

import filecmp
import os
import shutil
import tarfile
import zlib
from lzma import LZMAError
from pathlib import Path

from echelon.download.locked import locked
from echelon.errors import DataError, EchelonError, StorageError


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpacks a tar archive, compressed or not; what it has put into the folder, sorted.

    Links out of the folder, absolute names and devices are refused (the "data" filter of PEP 706). What was unpacked
    before and is the same stays; the files appear together, so a killed unpacking leaves nothing that looks whole.

    Raises:
        DataError: the archive is damaged, or wants to write elsewhere; or something else has the name that an entry
        wants. StorageError: the disk is full. EchelonError: another process unpacks the same archive there.
    """
    scratch = folder / f".{archive.name}.unpacking"
    lock = folder / f".{archive.name}.lock"
    with locked(lock, f"unpacking {archive.name}, it has"):
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            _extract(archive, scratch)
            entries = sorted(scratch.iterdir())
            for entry in entries:
                _place(entry, folder / entry.name, archive)
            return [folder / entry.name for entry in entries]
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            lock.unlink(missing_ok=True)


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
    elif (other := _other(entry, target)) is not None:
        raise DataError(
            f"{target} is there already, and is not what {archive.name} holds ({other} is another file, or there is "
            "none): move it away, or choose another folder"
        )


def _other(entry: Path, target: Path) -> Path | None:
    """The first file that only one of both has, or that has another content; sizes prove nothing."""
    ours, theirs = _files(entry), _files(target)
    for name in sorted(ours | theirs):
        if not (name in ours and name in theirs and filecmp.cmp(entry / name, target / name, shallow=False)):
            return target / name
    return None


def _files(path: Path) -> set[Path]:
    """By path relative to `path`, which itself may be the only file."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path) for file in files}
