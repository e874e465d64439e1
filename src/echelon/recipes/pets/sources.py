"""What a source of pets is, found by listing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from echelon.data.files import files_at, is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.pets.columns import UNKNOWN
from echelon.recipes.pets.names import breed_of
from echelon.recipes.pixels.decode import SUFFIXES
from echelon.spark.prepare import Problem

SUPPORTED = (
    "a folder, bucket or pattern of images called Breed_name_N.jpg (or .png and so on), at any depth; or of JSON files "
    "called so, each an array of the features of one image"
)
SUFFIX = ".json"
FILES_PER_ITEM = 32
BYTES_PER_ITEM = 16 << 20
LARGEST = 64 << 20
"""Bytes of a file: what has more is no photograph of a pet, and would be held several times by every host."""
Files = tuple[tuple[str, int], ...]
"""The path of each file, and its label."""


@dataclass(frozen=True)
class Item:
    """Some files for one task, and what was seen of others before any was read."""

    files: Files
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Source:
    """The files of a source.

    storage: that their paths are within. classes: the breeds in the order of the labels. others: how many files are
    hidden, or of another kind.
    """

    storage: Storage
    is_json: bool
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    others: int

    @property
    def paths(self) -> list[str]:
        """Of all files, in the order of the items."""
        return [path for item in self.items for path, _ in item.files]


def find_source(url: str, classes: Sequence[str] | None = None) -> Source:
    """The images or JSON files at a URL. Where there are images, JSON files are left alone.

    Args:
        classes: the breeds that a model knows, in the order of their labels: files of others, and those whose names say
            no breed, get the label -1 then. None for those that the files are of, sorted.

    Raises:
        DataError: there are no such files, or not one is called after a breed.
    """
    storage, entries = files_at(url)
    found, is_json = _readable(entries)
    if not found:
        raise DataError(f"there are no images and no JSON files at {url}: {_said(entries)}. Supported is {SUPPORTED}")
    breeds = {entry.path: breed_of(entry.path) for entry in found}
    known = sorted({breed for breed in breeds.values() if breed is not None}) if classes is None else list(classes)
    if not known:
        raise DataError(
            f"the breed of not one of {len(found)} files at {url} is known, such as {found[0].path}: call them "
            "Breed_name_N.jpg, for example Yorkshire_Terrier_12.jpg"
        )
    labels = {name: label for label, name in enumerate(known)}
    kept: list[tuple[Entry, int]] = []
    problems: list[Problem] = []
    for entry in found:
        breed = breeds[entry.path]
        if entry.size > LARGEST:
            problems.append(Problem(entry.path, f"it has {entry.size:,} bytes, more than any photograph of a pet"))
        elif breed is None and classes is None:
            problems.append(Problem(entry.path, "its breed is unknown, since it is not called Breed_name_N"))
        else:
            kept.append((entry, labels.get(breed or "", UNKNOWN)))
    return Source(storage, is_json, tuple(known), tuple(_items(kept, problems)), len(entries) - len(found))


def _readable(entries: Sequence[Entry]) -> tuple[list[Entry], bool]:
    """The images, or where there are none the JSON files, sorted; and whether they are these."""
    shown = sorted((entry for entry in entries if not is_hidden(entry.path)), key=lambda entry: entry.path)
    images = [entry for entry in shown if entry.path.lower().endswith(SUFFIXES)]
    return (images, False) if images else ([e for e in shown if e.path.lower().endswith(SUFFIX)], True)


def _items(kept: Sequence[tuple[Entry, int]], problems: Sequence[Problem]) -> Iterator[Item]:
    if problems:
        yield Item((), tuple(problems))
    files: list[tuple[str, int]] = []
    size = 0
    for entry, label in kept:
        if files and (len(files) == FILES_PER_ITEM or size + entry.size > BYTES_PER_ITEM):
            yield Item(tuple(files))
            files, size = [], 0
        files.append((entry.path, label))
        size += entry.size
    if files:
        yield Item(tuple(files))


def _said(entries: Sequence[Entry]) -> str:
    return f"there are {len(entries)} files, such as {entries[0].path}" if entries else "there are no files"
