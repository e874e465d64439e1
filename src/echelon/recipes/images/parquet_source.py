"""Parquet that others wrote, as a source of images.

Understood is what SparkNet wrote ("data": bytes or numbers of pixels, "label": a number), what Hugging Face's datasets
write ("image": a struct of bytes and path; class names in the schema's metadata), and encoded images in plain columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pat

from echelon.data.files import is_hidden
from echelon.data.manifest import MANIFEST
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.images.class_lists import ClassList
from echelon.recipes.images.folders import SPLITS
from echelon.recipes.images.meaning import Meaning, meaning_of
from echelon.recipes.images.parquet_rows import KEY, GroupRows, can_hold_images, key_of, opened
from echelon.recipes.images.rows import TRAIN, UNLABELLED, Division, Problem, Reported, Source

COLUMNS, LABEL = ("data", "image", "img"), "label"


@dataclass(frozen=True)
class _File:
    """column: of the images. groups: rows of each row group. labels: of every row, a number, a name or None. names: of
    the classes in the order of the numbers, if the file knows them. keys: of every row, if it has a column of names.
    """

    path: str
    column: str
    split: str | None
    groups: tuple[int, ...]
    labels: list[int | str | None]
    names: tuple[str, ...] | None
    keys: pa.ChunkedArray | None


def find_parquet(
    storage: Storage,
    entries: Sequence[Entry],
    size: tuple[int, int],
    division: Division,
    classes: Sequence[str] | None,
) -> Source | None:
    """The Parquet files with images among some files, or None if there are none.

    A file belongs to the split whose word is in its path, such as data/validation-00000-of-00002.parquet. The column
    "key" names the rows where each of all files has another name in it; otherwise they are called by file and number.

    classes: names that the labels must mean; None for those found.

    Raises:
        DataError: it is a dataset of our own; columns are missing or of other types; no image has a label.
    """
    paths = [e.path for e in entries if e.path.endswith(".parquet") and not is_hidden(e.path)]
    if not paths:
        return None
    if any(entry.path == MANIFEST for entry in entries):
        raise DataError(f"{storage.url} is a dataset already: train on it, or prepare what it was made of")
    files = [_read(storage, path) for path in paths]
    meaning = _meaning(storage, files, classes)
    problems: list[Problem] = []
    labelled = [_labelled(file, meaning, problems) for file in files]
    keyed = _are_unique([file.keys for file in files])
    splits = _splits(files, labelled, division, keyed)
    items = [
        item
        for file, rows in zip(files, labelled, strict=True)
        for item in _items(file, rows, [next(splits) for _ in rows], size, keyed)
    ]
    if not items:
        raise DataError(f"no image in the Parquet at {storage.url} can be used: {'; '.join(map(str, problems[:3]))}")
    reported = [Reported(tuple(problems))] if problems else []
    return Source("Parquet", meaning.classes, (*reported, *items))


def _read(storage: Storage, path: str) -> _File:
    with opened(storage, path) as file:
        schema = file.schema_arrow
        column = next((name for name in COLUMNS if name in schema.names), None)
        if column is None or not can_hold_images(schema.field(column).type):
            raise DataError(
                f"{storage.url_of(path)} has {', '.join(f'{f.name}: {f.type}' for f in schema)}; a column data, image "
                "or img must hold the images, as bytes, as a struct with bytes, or as a list of numbers"
            )
        groups = tuple(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
        words = re.split(r"[^a-z]+", path.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), None)
        keys = file.read([KEY]).column(KEY) if KEY in schema.names and pat.is_string(schema.field(KEY).type) else None
        return _File(path, column, split, groups, _labels(storage, path, file), _names(schema), keys)


def _are_unique(keys: Sequence[pa.ChunkedArray | None]) -> bool:
    """Whether each row of all files has a key of its own."""
    known = [each for each in keys if each is not None and not each.null_count]
    if len(known) < len(keys):
        return False
    joined = pa.chunked_array([chunk for each in known for chunk in each.chunks], pa.string())
    return bool(pc.count_distinct(joined).as_py() == len(joined))


def _labels(storage: Storage, path: str, file: pq.ParquetFile) -> list[int | str | None]:
    schema = file.schema_arrow
    if LABEL not in schema.names:
        return [None] * file.metadata.num_rows
    kind = schema.field(LABEL).type
    if not (pat.is_integer(kind) or pat.is_string(kind) or pat.is_large_string(kind)):
        raise DataError(f"{storage.url_of(path)}: its labels are {kind}, not whole numbers or names")
    return file.read([LABEL]).column(LABEL).to_pylist()


def _names(schema: pa.Schema) -> tuple[str, ...] | None:
    """The names that Hugging Face's datasets keep of the classes."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, known["info"]["features"][LABEL]["names"]))
    except (KeyError, TypeError, ValueError):
        return None


def _meaning(storage: Storage, files: Sequence[_File], classes: Sequence[str] | None) -> Meaning:
    """What the labels mean; names found are the classes, sorted."""
    found = {label for file in files for label in file.labels if label is not None}
    texts = sorted(label for label in found if isinstance(label, str))
    if texts and len(texts) < len(found):
        raise DataError(f"the labels in the Parquet at {storage.url} are names in some files and numbers in others")
    names = {file.names for file in files}
    if len(names) > 1:
        raise DataError(f"the Parquet files at {storage.url} name their classes in different ways: prepare them apart")
    given = names.pop() if names else None
    if given and not texts:
        return meaning_of((), len(given) - 1, ClassList("", given, given), classes)
    most = max((label for label in found if isinstance(label, int)), default=UNLABELLED)
    return meaning_of(texts, most, None, classes)


def _labelled(file: _File, meaning: Meaning, problems: list[Problem]) -> list[tuple[int, int]]:
    """The rows of a file that can be used, each with its label; adds the others to the problems."""
    rows = []
    for row, found in enumerate(file.labels):
        number = UNLABELLED if found is None else found
        label = meaning.known[number] if isinstance(number, str) else meaning.label(number)
        if isinstance(label, int):
            rows.append((row, label))
        else:
            problems.append(Problem(key_of(file.path, row), label))
    return rows


def _splits(
    files: Sequence[_File], labelled: Sequence[Sequence[tuple[int, int]]], division: Division, keyed: bool
) -> Iterator[str]:
    """The split of each row of all files."""
    if {file.split or TRAIN for file in files} != {TRAIN} or not division.test_fraction:
        return (file.split or TRAIN for file, rows in zip(files, labelled, strict=True) for _ in rows)
    keys: list[str] = []
    for file, rows in zip(files, labelled, strict=True):
        names = file.keys.to_pylist() if keyed and file.keys is not None else None
        keys += [names[row] if names else key_of(file.path, row) for row, _ in rows]
    return iter(division.split_of(keys, [label for rows in labelled for _, label in rows]))


def _items(
    file: _File, rows: Sequence[tuple[int, int]], splits: Sequence[str], size: tuple[int, int], keyed: bool
) -> Iterator[GroupRows]:
    """An item for each row group and split."""
    first = at = 0
    for group, count in enumerate(file.groups):
        until = at
        while until < len(rows) and rows[until][0] < first + count:
            until += 1
        for split in sorted(set(splits[at:until])):
            pairs = zip(rows[at:until], splits[at:until], strict=True)
            places = tuple((row - first, label) for (row, label), its in pairs if its == split)
            yield GroupRows(file.path, file.column, group, first, places, split, size, keyed)
        first, at = first + count, until
