"""What the tar archives of a source are: ImageNet as it is distributed, and what is laid out like it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from echelon.data.files import is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.images.archives import ClassTar, TarFiles, images_in
from echelon.recipes.images.class_lists import ClassList, Labels, positions, read_class_lists, read_labels
from echelon.recipes.images.folders import FILES_PER_ITEM, SPLITS
from echelon.recipes.images.meaning import Meaning, chosen_list, meaning_of
from echelon.recipes.images.rows import TEST, TRAIN, UNLABELLED, Division, Item, Problem, Reported, Source
from echelon.recipes.images.tars import Member, kind_of, members, open_archive
from echelon.recipes.pixels.decode import SUFFIXES

_IMAGENET = re.compile(r"ILSVRC\d+_img_(train|val|test).*")
_SHOWN = 5
_COMPARED = 64 << 10
"""Bytes from the beginning by which archives of the same class and length are told apart."""


@dataclass(frozen=True)
class _ClassArchive:
    """An archive of one class: a file, or `length` bytes of one from `start` on."""

    path: str
    name: str
    class_id: str
    split: str
    start: int
    length: int


@dataclass(frozen=True)
class _FlatArchive:
    """An archive of images of all classes. split: None where its name does not say. labels: None for no such file."""

    path: str
    split: str | None
    labels: Labels | None


def find_archives(
    storage: Storage,
    entries: Sequence[Entry],
    size: tuple[int, int],
    division: Division,
    classes: Sequence[str] | None,
) -> Source | None:
    """The tar archives among some files, or None if there are none.

    An archive with a list of labels beside it (X.tar and X.txt, or ILSVRC2012_img_val.tar and val.txt) holds images of
    all classes; one called train, val or test belongs to that split. Every other one holds the images of the class
    after which it is called; ILSVRC2012_img_train.tar holds such archives. The numbers in lists of labels count the
    lines of a class list beside the archives (the shortest that has all classes), or else the sorted archives.

    classes: names that the labels must mean; None for those found.

    Raises:
        DataError: nothing there has labels; an archive is there twice; an archive's class is none of `classes`; labels
            are greater than the number of classes.
    """
    tars = [entry for entry in entries if entry.path.lower().endswith(".tar") and not is_hidden(entry.path)]
    if not tars:
        return None
    texts = _texts(storage, tars)
    labels = {text.path: read_labels(storage, text) for text in texts if _has_labels(storage, text)}
    lists = read_class_lists(storage, [text for text in texts if text.path not in labels])
    problems: list[Problem] = []
    of_class, flat = _sorted_out(storage, tars, labels, classes, problems)
    used = _used(of_class, flat, classes is not None, problems)
    _refuse_twice(storage, of_class, used)
    meaning, kind = _meaning(of_class, used, lists, classes)
    splits = {each.split for each in of_class} | {each.split or TRAIN for each in used}
    divide = division if splits == {TRAIN} and division.test_fraction else None
    items: list[Item] = list(_class_items(storage, of_class, meaning, size, divide))
    for archive in used:
        rows = _labelled(storage, archive, meaning, problems)
        items += _flat_items(archive, rows, size, divide)
    if not any(item.images for item in items):
        raise DataError(f"no image in the archives at {storage.url} has a label: {_first(problems)}")
    reported = [Reported(tuple(problems))] if problems else []
    return Source(kind, meaning.classes, tuple(reported + items))


def split_of_name(stem: str) -> str | None:
    """The split that an archive or a database is called after, if it is."""
    match = _IMAGENET.fullmatch(stem)
    return SPLITS.get(match[1] if match else stem.lower())


def _texts(storage: Storage, tars: Sequence[Entry]) -> list[Entry]:
    folders = {""} | {tar.path.rpartition("/")[0] for tar in tars}
    found = (entry for folder in sorted(folders) for entry in storage.list(folder, recursive=False))
    return [entry for entry in found if entry.path.endswith(".txt") and not is_hidden(entry.path)]


def _has_labels(storage: Storage, text: Entry) -> bool:
    """Whether a text begins like a list of images, with the name of one."""
    with closing(storage.open_input(text.path)) as file:
        words = file.read(4096).decode("utf-8", errors="replace").partition("\n")[0].split()
    return any(word.lower().endswith(SUFFIXES) for word in words)


def _sorted_out(
    storage: Storage,
    tars: Sequence[Entry],
    labels: Mapping[str, Labels],
    classes: Sequence[str] | None,
    problems: list[Problem],
) -> tuple[list[_ClassArchive], list[_FlatArchive]]:
    """The archives of a class each, and those of all classes; adds what is wrong to the problems."""
    of_class: list[_ClassArchive] = []
    flat: list[_FlatArchive] = []
    known = positions(classes) if classes is not None else {}
    for tar in tars:
        folder, slash, file_name = tar.path.rpartition("/")
        stem = file_name[:-4]
        split = split_of_name(stem)
        listed = labels.get(f"{folder}{slash}{stem}.txt") or labels.get(f"{folder}{slash}{split}.txt")
        if split is not None or len(tars) == 1:
            inner = _inner(storage, tar, split or TRAIN, problems)
            of_class += inner
            if inner:
                continue
        strange = len(tars) == 1 and classes is not None and stem not in known
        if listed is not None or split is not None or strange:
            flat.append(_FlatArchive(tar.path, split, listed))
        else:
            above = SPLITS.get(tar.path.split("/")[0], TRAIN) if folder else TRAIN
            of_class.append(_ClassArchive(tar.path, tar.path, stem, above, 0, tar.size))
    return of_class, flat


def _inner(storage: Storage, tar: Entry, split: str, problems: list[Problem]) -> list[_ClassArchive]:
    """The archives in an archive, if it holds some."""
    inner = []
    with closing(open_archive(storage, tar.path)) as file:
        if kind_of(file, tar.path)[0] != "archives":
            return []
        file.seek(0)
        for found in members(file, tar.path):
            if isinstance(found, Problem):
                problems.append(found)
            elif not found.name.endswith(".tar"):
                problems.append(Problem(f"{tar.path}/{found.name}", "it is no archive of a class, as the others are"))
            else:
                stem, name = found.name.rsplit("/", 1)[-1].removesuffix(".tar"), f"{tar.path}/{found.name}"
                length = min(found.size, tar.size - found.offset)
                inner.append(_ClassArchive(tar.path, name, stem, split, found.offset, length))
    return inner


def _refuse_twice(storage: Storage, of_class: Sequence[_ClassArchive], flat: Sequence[_FlatArchive]) -> None:
    """
    Raises:
        DataError: an archive is there twice, as where ILSVRC2012_img_train.tar lies beside what it was unpacked to.
    """
    places = [(each.class_id, each.path, each.name, each.start, each.length) for each in of_class]
    places += [("", each.path, each.path, 0, storage.size(each.path)) for each in flat]
    seen: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    numbers = Counter((class_id, length) for class_id, *_, length in places)
    for class_id, path, name, start, length in places:
        if numbers[class_id, length] == 1:
            continue
        with closing(open_archive(storage, path, start, length)) as file:
            begin = file.read(_COMPARED)
        others = seen.setdefault((class_id, length), [])
        twin = next((other for other, its in others if its == begin), None)
        if twin is not None:
            raise DataError(
                f"{storage.url_of(twin)} and {storage.url_of(name)} are the same archive: every image would be taken "
                "twice, perhaps to train and to test; move one of them away"
            )
        others.append((name, begin))


def _meaning(
    of_class: Sequence[_ClassArchive],
    flat: Sequence[_FlatArchive],
    lists: Sequence[ClassList],
    classes: Sequence[str] | None,
) -> tuple[Meaning, str]:
    """What the labels mean, and what the source is in words."""
    names = sorted({each.class_id for each in of_class})
    most = max((each.labels.most for each in flat if each.labels is not None), default=UNLABELLED)
    chosen = chosen_list(lists, names, most)
    kind = "tar archives" + (f", classes of {chosen.path}" if chosen else "")
    return meaning_of(names, most, chosen, classes), kind


def _used(
    of_class: Sequence[_ClassArchive], flat: Sequence[_FlatArchive], predicting: bool, problems: list[Problem]
) -> list[_FlatArchive]:
    """The archives of all classes that are read; adds why others are not to the problems."""
    used = []
    named = bool(of_class) or any(each.split is not None for each in flat)
    for each in flat:
        if each.labels is None and not predicting:
            wanted = f"{each.path[:-4]}.txt" + (f" or {each.split}.txt" if each.split else "")
            problems.append(Problem(each.path, f"there is no list of its labels beside it ({wanted})"))
        elif each.split is None and named:
            reason = "other archives are of a class, or are called train, val or test, and it is not: prepare it alone"
            problems.append(Problem(each.path, reason))
        else:
            used.append(each)
    return used


def _class_items(
    storage: Storage,
    archives: Sequence[_ClassArchive],
    meaning: Meaning,
    size: tuple[int, int],
    divide: Division | None,
) -> Iterator[Item]:
    if not archives:
        return
    first = max(archives, key=lambda each: each.length)
    with closing(open_archive(storage, first.path, first.start, first.length)) as file:
        _, each_bytes = kind_of(file, first.name)
    for one in archives:
        label = meaning.known[one.class_id]
        parts = {one.split: 1.0} if divide is None else {TRAIN: 1 - divide.test_fraction, TEST: divide.test_fraction}
        for split, part in parts.items():
            if part:
                images = max(1, round(part * one.length / each_bytes))
                yield ClassTar(one.path, one.name, label, split, size, images, divide, one.start, one.length)


def _labelled(
    storage: Storage, archive: _FlatArchive, meaning: Meaning, problems: list[Problem]
) -> list[tuple[Member, int]]:
    """The images of an archive with their labels; adds what cannot be used to the problems."""
    entries = list(images_in(storage, archive.path))
    problems += [entry for entry in entries if isinstance(entry, Problem)]
    images = [entry for entry in entries if isinstance(entry, Member)]
    if archive.labels is None:
        return [(image, UNLABELLED) for image in images]
    rows, listed = [], archive.labels
    names = listed.matched([image.name for image in images])
    for image in images:
        name = names.get(image.name)
        label = f"{listed.path} does not list it" if name is None else meaning.label(listed.of_name[name])
        if isinstance(label, int):
            rows.append((image, label))
        else:
            problems.append(Problem(f"{archive.path}/{image.name}", label))
    missing = listed.of_name.keys() - names.values()
    reason = "it is listed, but the archive lacks it"
    problems += [Problem(f"{archive.path}/{name}", reason) for name in listed.of_name if name in missing]
    return rows


def _flat_items(
    archive: _FlatArchive, rows: Sequence[tuple[Member, int]], size: tuple[int, int], divide: Division | None
) -> Iterator[Item]:
    keys, labels = [f"{archive.path}/{member.name}" for member, _ in rows], [label for _, label in rows]
    splits = divide.split_of(keys, labels) if divide else [archive.split or TRAIN] * len(rows)
    for split in sorted(set(splits)):
        of_split = [row for row, its in zip(rows, splits, strict=True) if its == split]
        for start in range(0, len(of_split), FILES_PER_ITEM):
            yield TarFiles(archive.path, tuple(of_split[start : start + FILES_PER_ITEM]), split, size)


def _first(problems: Sequence[Problem]) -> str:
    return "; ".join(map(str, problems[:_SHOWN])) or "they hold no images"
