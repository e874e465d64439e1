"""Images in tar archives: one archive for each class, or one of all classes with a list of labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.images.batches import Stored, StoredImages
from echelon.recipes.images.rows import TEST, Division, Problem
from echelon.recipes.images.tars import Member, members, open_archive, read_member
from echelon.recipes.pixels.decode import SUFFIXES
from echelon.recipes.pixels.places import CUT_OFF, Place

LARGEST = 256 << 20
"""Bytes of an image file. What claims more is damaged, or too large to be read at once by every task of a host."""


@dataclass(frozen=True)
class _Archive:
    """An archive that is open. name: for keys. start, size: where it is in the file at `path`."""

    storage: Storage
    file: BinaryIO
    path: str
    name: str
    start: int
    size: int

    def image(self, member: Member, label: int) -> Stored | Problem:
        key = f"{self.name}/{member.name}"
        if member.offset + member.size > self.size:
            return Problem(key, CUT_OFF)
        if self.storage.is_local:
            return Stored(key, label, Place(self.path, self.start + member.offset, member.size))
        # Far away a request for each image costs more than one for many that lie one behind the other.
        content = read_member(self.file, member)
        return Problem(key, CUT_OFF) if content is None else Stored(key, label, content)


@contextmanager
def _opened(storage: Storage, path: str, name: str, start: int = 0, length: int | None = None) -> Iterator[_Archive]:
    with closing(open_archive(storage, path, start, length)) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        yield _Archive(storage, file, path, name, start, size)


@dataclass(frozen=True)
class ClassTar(StoredImages):
    """The archive of one class, or of it the images that a division gives to one split.

    It is found out in the task what the archive holds: nobody reads the headers of a thousand archives one by one.

    name: of the archive, for keys and messages. start, length: where it is in the file at `path`; None for the end of
    the file. size: height and width that images are brought to. images: about how many there are.
    """

    path: str
    name: str
    label: int
    split: str
    size: tuple[int, int]
    images: int
    division: Division | None = None
    start: int = 0
    length: int | None = None

    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        """See `StoredImages`.

        Raises:
            DataError: its images lie in several folders, which are likely the classes.
        """
        with _opened(storage, self.path, self.name, self.start, self.length) as archive:
            yield from self._stored(archive)

    def _stored(self, archive: _Archive) -> Iterator[Stored | Problem]:
        found = self._of_one_folder(_image(self.name, entry) for entry in members(archive.file, self.name))
        count = 0
        for entry in found if self.division is None else self._part(list(found), self.division):
            if isinstance(entry, Member):
                count += 1
                yield archive.image(entry, self.label)
            else:
                yield entry
        if not count and self.division is None:
            yield Problem(self.name, "it holds no images")

    def _of_one_folder(self, found: Iterable[Member | Problem]) -> Iterator[Member | Problem]:
        folder = ""
        for entry in found:
            if isinstance(entry, Member):
                its = entry.name.rpartition("/")[0]
                if its and folder not in ("", its):
                    raise DataError(
                        f"{self.name} is taken for the archive of one class, but has the folders {folder} and {its}: "
                        "unpack it if these are the classes, else pack the images of the class without folders"
                    )
                folder = folder or its
            yield entry

    def _part(self, found: list[Member | Problem], division: Division) -> Iterator[Member | Problem]:
        """What the division gives to this split; what is wrong with the archive is told with the training part."""
        images = [entry for entry in found if isinstance(entry, Member)]
        splits = division.split_of([f"{self.name}/{image.name}" for image in images], [self.label] * len(images))
        if self.split != TEST:
            yield from (entry for entry in found if isinstance(entry, Problem))
            if not images:
                yield Problem(self.name, "it holds no images")
        yield from (image for image, split in zip(images, splits, strict=True) if split == self.split)


@dataclass(frozen=True)
class TarFiles(StoredImages):
    """Some images of one archive, which lie one behind the other.

    members: each with its label.
    """

    path: str
    members: tuple[tuple[Member, int], ...]
    split: str
    size: tuple[int, int]

    @property
    def images(self) -> int:
        return len(self.members)

    def is_brief(self, storage: Storage) -> bool:
        return storage.is_local

    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        with _opened(storage, self.path, self.path) as archive:
            yield from (archive.image(*member) for member in self.members)


def images_in(storage: Storage, path: str) -> Iterator[Member | Problem]:
    """The images of an archive, and what else is in it that should not."""
    with closing(open_archive(storage, path)) as file:
        for entry in members(file, path):
            yield _image(path, entry)


def _image(archive: str, entry: Member | Problem) -> Member | Problem:
    if isinstance(entry, Member) and not entry.name.lower().endswith(SUFFIXES):
        return Problem(f"{archive}/{entry.name}", "its name does not end like that of an image, such as .JPEG")
    if isinstance(entry, Member) and entry.size > LARGEST:
        return Problem(f"{archive}/{entry.name}", f"its header says {entry.size} bytes; at most {LARGEST} are read")
    return entry
