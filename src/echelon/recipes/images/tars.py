"""What a tar archive holds and where, without unpacking it (POSIX.1-1988 ustar, pax and GNU, by `tarfile`)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from echelon.data.files import is_hidden
from echelon.data.storage import Storage
from echelon.recipes.images.rows import Problem

_BLOCK = 512
_LOCAL_BUFFER, _REMOTE_BUFFER = 16 << 10, 1 << 20
"""Bytes read at once. Far away a request costs more than the bytes that it brings."""


@dataclass(frozen=True)
class Member:
    """A regular file in an archive. offset: of its content, in bytes from the archive's beginning. size: in bytes."""

    name: str
    offset: int
    size: int


def open_archive(storage: Storage, path: str, start: int = 0, size: int | None = None) -> BinaryIO:
    """A file for buffered reading anywhere in it, or of it the bytes from `start` on, `size` of them."""
    local = "://" not in storage.url or storage.url.startswith("file://")
    raw = storage.open_input(path)
    part = _Part(raw, start, raw.size() - start if size is None else size)
    return io.BufferedReader(part, _LOCAL_BUFFER if local else _REMOTE_BUFFER)


class _Part(io.RawIOBase):
    """Some bytes of a file as a file. Closes it."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        wanted = min(len(buffer), max(0, self._size - self._at))
        if not wanted:
            return 0  # A place far behind the end could not even be sought.
        self._file.seek(self._start + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def members(file: BinaryIO, name: str) -> Iterator[Member | Problem]:
    """The regular files of an archive in their order, and what is wrong with it.

    Folders and hidden files, such as the "._" files of macOS, are passed over. Other things that are no regular files,
    second files of a name, and an archive that is cut off or damaged are problems; an archive always comes to an end.
    A member may be larger than what is left of its archive, see `read_member`. Between two members the file may be
    read.

    name: of the archive, for messages.
    """
    seen: set[str] = set()
    try:
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (the file is its owner's)
        reached = -1
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]
            # `tarfile` goes back by a negative size, and would read the same header for ever (CVE-2025-8194).
            if info.size < 0 or archive.offset <= reached:
                yield Problem(name, f"it is damaged: a header says {info.size} bytes ({info.name}); the rest is lost")
                return
            reached = archive.offset
            if info.isdir() or is_hidden(info.name.removeprefix("./")):
                continue
            yield _told(info, name, seen)
    except (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        # Without memory or stack: a damaged header claims a name of exabytes, or a name of a name of a name.
        reason = str(error) or type(error).__name__
        yield Problem(name, f"it is cut off or no tar archive, and what comes behind this is lost: {reason}")
        return
    yield from _end(file, archive.offset, name)


def _told(info: tarfile.TarInfo, archive: str, seen: set[str]) -> Member | Problem:
    name = info.name.removeprefix("./")
    if not info.isreg() or info.issparse():
        return Problem(f"{archive}/{name}", "it is a link, a device or a sparse file, not an image")
    if name in seen:
        return Problem(f"{archive}/{name}", "the archive holds this name twice; the first one is taken")
    seen.add(name)
    return Member(name, info.offset_data, info.size)


def _end(file: BinaryIO, offset: int, name: str) -> Iterator[Problem]:
    """What is wrong where the archive ended: `tarfile` takes any bytes that are no header for its end."""
    file.seek(offset)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        yield Problem(name, f"it ends at byte {offset + len(block)} without a mark of its end: it may be cut off")
    elif any(block):
        yield Problem(name, f"it is damaged at byte {offset}: what comes behind is lost")


def read_member(file: BinaryIO, member: Member) -> bytes | None:
    """The content of a member, or None if the archive is cut off within it."""
    file.seek(member.offset)
    data = file.read(member.size)
    return data if len(data) == member.size else None


def kind_of(file: BinaryIO, name: str) -> tuple[Literal["archives", "images", "nothing"], int]:
    """Whether an archive holds archives, other files or nothing; and about how many bytes each takes in it."""
    sizes = []
    for found in members(file, name):
        if isinstance(found, Member):
            if found.name.endswith(".tar"):
                return "archives", found.size + _BLOCK
            sizes.append(found.size + 3 * _BLOCK // 2)
        if len(sizes) == 16:
            break
    return ("images", sum(sizes) // len(sizes)) if sizes else ("nothing", _BLOCK)
