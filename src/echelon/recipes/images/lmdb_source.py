"""Databases of Caffe (LMDB) as a source of images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from echelon.data.files import is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError, EchelonError
from echelon.recipes.images.batches import Stored, StoredImages
from echelon.recipes.images.class_lists import read_class_lists
from echelon.recipes.images.datum import content_of, label_of, message
from echelon.recipes.images.folders import FILES_PER_ITEM, SPLITS
from echelon.recipes.images.meaning import Meaning, chosen_list, meaning_of
from echelon.recipes.images.rows import TRAIN, UNLABELLED, Division, Item, Problem, Reported, Source
from echelon.recipes.pixels.decode import BrokenImage

DATA = "data.mdb"


@dataclass(frozen=True)
class Records(StoredImages):
    """Some images of one database.

    folder: of the database, relative to the source; "" for the source itself. keys: of its records, each with the label
    that it has here. size: height and width that images are brought to.
    """

    folder: str
    keys: tuple[tuple[bytes, int], ...]
    split: str
    size: tuple[int, int]
    blue_first: bool

    @property
    def images(self) -> int:
        return len(self.keys)

    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        with _opened(storage, self.folder) as database, database.begin() as view:
            yield from (self._stored(view, *record) for record in self.keys)

    def _stored(self, view: Any, key: bytes, label: int) -> Stored | Problem:
        name, record = _key(self.folder, key), view.get(key)
        if record is None:
            raise DataError(f"the database {name.rpartition('/')[0]} was changed while it was read: start again")
        try:
            return Stored(name, label, content_of(record, self.blue_first))
        except BrokenImage as error:
            return Problem(name, str(error))


def find_databases(
    storage: Storage,
    entries: Sequence[Entry],
    size: tuple[int, int],
    division: Division,
    classes: Sequence[str] | None,
    blue_first: bool,
) -> Source | None:
    """The databases among some files, or None if there are none.

    Each is a folder with a data.mdb. One with the word train, val or test in its name, as ilsvrc12_train_lmdb, belongs
    to that split. Class names come from a class list beside them; without one they are the numbers.

    classes: names that the labels must mean. blue_first: the order of the channels of pixels that are not encoded.

    Raises:
        DataError: they are not on a disk, damaged, or no image has a label. EchelonError: a package is missing.
    """
    folders = [entry.path[: -len(DATA)].rstrip("/") for entry in entries if _is_database(entry.path)]
    if not folders:
        return None
    splits = {folder: _split(folder or _path(storage)) for folder in folders}
    problems: list[Problem] = []
    labels = {folder: _labels(storage, folder, problems) for folder in folders}
    most = max((label for of in labels.values() for label in of.values()), default=UNLABELLED)
    texts = [entry for entry in entries if entry.path.endswith(".txt") and not is_hidden(entry.path)]
    listed = chosen_list(read_class_lists(storage, texts), (), most)
    meaning = meaning_of((), most, listed, classes)
    kept = {folder: _kept(folder, labels[folder], meaning, problems) for folder in folders}
    divided = set(splits.values()) == {TRAIN} and division.test_fraction
    items: list[Item] = []
    for folder, records in kept.items():
        parts = division.split_of(*_named(folder, records)) if divided else [splits[folder]] * len(records)
        items += _items(folder, records, parts, size, blue_first)
    if not items:
        raise DataError(f"no image in the databases at {storage.url} can be used: {'; '.join(map(str, problems[:3]))}")
    reported = [Reported(tuple(problems))] if problems else []
    kind = "LMDB of Caffe" + (f", classes of {listed.path}" if listed else "")
    return Source(kind, meaning.classes, (*reported, *items))


def _is_database(path: str) -> bool:
    return path.rpartition("/")[2] == DATA and not is_hidden(path)


def _split(path: str) -> str:
    words = re.split(r"[^a-z]+", path.rstrip("/").rpartition("/")[2].lower())
    return next((SPLITS[word] for word in words if word in SPLITS), TRAIN)


def _labels(storage: Storage, folder: str, problems: list[Problem]) -> dict[bytes, int]:
    """The number that each record of a database has for a label; adds broken ones to the problems."""
    numbers = {}
    with _opened(storage, folder) as database, database.begin(buffers=True) as view:
        for key, record in view.cursor():
            try:
                numbers[bytes(key)] = label_of(record)
            except BrokenImage as error:
                problems.append(Problem(_key(folder, bytes(key)), str(error)))
    return numbers


def _kept(folder: str, numbers: dict[bytes, int], meaning: Meaning, problems: list[Problem]) -> list[tuple[bytes, int]]:
    kept = []
    for key, number in numbers.items():
        label = meaning.label(number)
        if isinstance(label, int):
            kept.append((key, label))
        else:
            problems.append(Problem(_key(folder, key), label))
    return kept


def _named(folder: str, records: Sequence[tuple[bytes, int]]) -> tuple[list[str], list[int]]:
    return [_key(folder, key) for key, _ in records], [label for _, label in records]


def _items(
    folder: str, records: Sequence[tuple[bytes, int]], splits: Sequence[str], size: tuple[int, int], blue_first: bool
) -> Iterator[Item]:
    for split in sorted(set(splits)):
        of_split = [record for record, its in zip(records, splits, strict=True) if its == split]
        for start in range(0, len(of_split), FILES_PER_ITEM):
            yield Records(folder, tuple(of_split[start : start + FILES_PER_ITEM]), split, size, blue_first)


def _key(folder: str, key: bytes) -> str:
    return f"{folder}{'/' if folder else ''}{key.decode(errors='backslashreplace')}"


def _path(storage: Storage) -> str:
    """The path of a storage on this machine's disks.

    Raises:
        DataError: it is elsewhere.
    """
    if "://" not in storage.url:
        return storage.url
    parts = urlsplit(storage.url)
    if parts.scheme != "file":
        raise DataError(
            f"{storage.url} holds an LMDB, which is mapped into memory and therefore must be on a disk: "
            "copy it to one that all hosts see"
        )
    return unquote(parts.path)


@contextmanager
def _opened(storage: Storage, folder: str) -> Iterator[Any]:
    """A database, for reading.

    Raises:
        DataError: it is damaged. FileNotFoundError: it is not there.
    """
    try:
        import lmdb
    except ImportError:
        raise EchelonError("an LMDB of Caffe needs lmdb and protobuf: pip install 'echelon[caffe]'") from None
    message()
    path = os.path.join(_path(storage), folder)
    file = os.path.join(path, DATA)
    if not os.path.exists(file):
        raise FileNotFoundError(f"there is no file {file}")
    try:
        with lmdb.open(path, readonly=True, lock=False, readahead=False, create=False) as database:
            # Beyond the end of the file a mapping has no memory, and touching it kills the process.
            needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            if os.path.getsize(file) < needed:
                raise DataError(f"{file} is cut off: it has {os.path.getsize(file)} of {needed} bytes; copy it again")
            yield database
    except lmdb.Error as error:
        raise DataError(f"{file} cannot be read as an LMDB: {error}") from None
