"""A folder of class folders, optionally below train/, val/ and test/."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from echelon.data.files import is_hidden
from echelon.data.storage import Storage
from echelon.recipes.images.batches import Stored, StoredImages
from echelon.recipes.images.meaning import OtherClasses
from echelon.recipes.images.rows import TEST, TRAIN, UNLABELLED, VAL, Division, Item, Problem, Source
from echelon.recipes.pixels.decode import SUFFIXES
from echelon.recipes.pixels.places import Place

SPLITS: Mapping[str, str] = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST}

FILES_PER_ITEM = 256


@dataclass(frozen=True)
class ClassFiles(StoredImages):
    """Some image files of one split.

    files: (path, label) of each. size: height and width that they are brought to.
    strays: images in no class folder, to be reported.
    """

    split: str
    files: tuple[tuple[str, int], ...]
    size: tuple[int, int]
    strays: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        return len(self.files)

    def is_brief(self, storage: Storage) -> bool:
        return True

    def stored(self, storage: Storage) -> Iterator[Stored | Problem]:
        yield from (Problem(path, "it lies in no class folder") for path in self.strays)
        yield from (Stored(path, label, Place(path)) for path, label in self.files)


def find_folders(
    paths: Sequence[str], size: tuple[int, int], division: Division, classes: Sequence[str] | None
) -> Source | None:
    """The class folders among some paths below the source, or None if no folder of images is there.

    A class is called after its folder; folders below it belong to it. Without a val or test folder the images are
    divided. classes: the names that there may be, in the order of their labels; None for those found, sorted.

    Raises:
        OtherClasses: a folder is none of `classes`.
    """
    images = sorted(path for path in paths if path.lower().endswith(SUFFIXES) and not is_hidden(path))
    above = {path.split("/")[0] for path in images if path.count("/") >= 2}
    has_splits = bool(above) and above <= set(SPLITS)
    skip = 1 if has_splits else 0
    placed = [(path, path.split("/")[skip]) for path in images if path.count("/") > skip]
    if not placed:
        return None
    names = tuple(classes) if classes is not None else tuple(sorted({name for _, name in placed}))
    labels = {name: label for label, name in enumerate(names)}
    unknown = sorted({name for _, name in placed} - set(labels))
    if unknown:
        raise OtherClasses(f"the folders {', '.join(unknown)} are none of the classes {', '.join(names)}")
    files: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (path, name), split in zip(placed, _splits(placed, has_splits, labels, division), strict=True):
        files[split].append((path, labels[name]))
    strays = tuple(path for path in images if path.count("/") <= skip)
    return Source("class folders", names, tuple(_items(files, size, strays)))


def find_photos(paths: Sequence[str], size: tuple[int, int]) -> tuple[Item, ...]:
    """All images among some paths, without labels."""
    images = sorted(path for path in paths if path.lower().endswith(SUFFIXES) and not is_hidden(path))
    return tuple(_items({TEST: [(path, UNLABELLED) for path in images]}, size, ()))


def _splits(
    placed: Sequence[tuple[str, str]], has_splits: bool, labels: Mapping[str, int], division: Division
) -> list[str]:
    """The split of each image, which lies in the folder of its class."""
    given = [SPLITS[path.split("/")[0]] if has_splits else TRAIN for path, _ in placed]
    if set(given) != {TRAIN} or not division.test_fraction:
        return given
    return division.split_of([path for path, _ in placed], [labels[name] for _, name in placed])


def _items(
    files: Mapping[str, Sequence[tuple[str, int]]], size: tuple[int, int], strays: tuple[str, ...]
) -> Iterator[Item]:
    for split in sorted(files):
        for start in range(0, len(files[split]), FILES_PER_ITEM):
            yield ClassFiles(split, tuple(files[split][start : start + FILES_PER_ITEM]), size, strays)
            strays = ()
