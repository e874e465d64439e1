"""The text files that come with archives of images: class lists, and labels of images.

A class list has one class a line in the order of the labels: its id, and perhaps words, as ImageNet's synset_words.txt
("n01440764 tench, Tinca tinca") and synsets.txt do. A list of labels is Caffe's: "name label" a line, as val.txt.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.images.rows import UNLABELLED
from echelon.recipes.pixels.decode import SUFFIXES

_SYNSET = re.compile(r"n\d{8}")
_LIST_NAME = re.compile(r"synset|class|words", re.IGNORECASE)
_LABEL = re.compile(r"(\S.*?)(?:[ \t]+(-?\d+))?\s*")
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their labels. ids: first words of the lines. lines: id and words."""

    path: str
    ids: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of images by their names, -1 where a line has none."""

    path: str
    of_name: Mapping[str, int]

    @property
    def most(self) -> int:
        return max(self.of_name.values(), default=UNLABELLED)

    @property
    def are_there(self) -> bool:
        return self.most >= 0

    def matched(self, members: Sequence[str]) -> dict[str, str]:
        """The name in the list of each member of an archive that is listed: the same one, or else one that is the same
        behind the last slash, where no other member and no other line has that.
        """
        listed, there = _by_base(self.of_name), _by_base(members)
        found = {}
        for name in members:
            base = _base(name)
            if name in self.of_name:
                found[name] = name
            elif len(there[base]) == len(listed.get(base, ())) == 1:
                found[name] = listed[base][0]
        return found


def read_class_lists(storage: Storage, texts: Iterable[Entry]) -> list[ClassList]:
    """Those of some text files that are class lists, the shortest first."""
    found = []
    for entry in texts:
        lines = [line.strip() for line in _text(storage, entry).splitlines() if line.strip()]
        ids = [line.split()[0] for line in lines]
        listed = _LIST_NAME.search(entry.path.rsplit("/", 1)[-1]) or all(map(_SYNSET.fullmatch, ids))
        named = any(name.lower().endswith(SUFFIXES) for name in ids[:1])
        if lines and listed and not named and len(set(ids)) == len(ids):
            found.append(ClassList(entry.path, tuple(ids), tuple(lines)))
    return sorted(found, key=lambda each: (len(each.ids), each.path))


def read_labels(storage: Storage, entry: Entry) -> Labels:
    """
    Raises:
        DataError: a name has two labels.
    """
    of_name: dict[str, int] = {}
    for number, line in enumerate(_text(storage, entry).splitlines(), 1):
        match = _LABEL.fullmatch(line.strip())
        if match is None:
            continue
        name, label = match[1].removeprefix("./"), UNLABELLED if match[2] is None else int(match[2])
        if of_name.setdefault(name, label) != label:
            raise DataError(f"{storage.url_of(entry.path)}: line {number} gives {name} another label than before")
    return Labels(entry.path, of_name)


def positions(classes: Sequence[str]) -> dict[str, int]:
    """The label of each class by its whole name, and by its first word where no other class has the same."""
    first = Counter(_first_word(name) for name in classes)
    ids = {_first_word(name): label for label, name in enumerate(classes) if first[_first_word(name)] == 1}
    return ids | {name: label for label, name in enumerate(classes)}


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _by_base(names: Iterable[str]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name in names:
        found[_base(name)].append(name)
    return found


def _first_word(name: str) -> str:
    return (name.split() or [name])[0]


def _text(storage: Storage, entry: Entry) -> str:
    if entry.size > _MOST_BYTES:
        raise DataError(f"{storage.url_of(entry.path)} has {entry.size} bytes: too many for a list of names and labels")
    return storage.read(entry.path).decode("utf-8", errors="replace")
