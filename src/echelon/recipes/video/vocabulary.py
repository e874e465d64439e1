"""The names of the labels, from the vocabulary of the public set."""

from __future__ import annotations

import csv
import io

from echelon.data.files import files_at
from echelon.errors import DataError
from echelon.recipes.video.columns import MOST_CLASSES

_NUMBER, _NAME = "Index", "Name"


def read_vocabulary(url: str) -> dict[int, str]:
    """The name of each label, of vocabulary.csv as https://research.google.com/youtube8m/download.html has it.

    Raises:
        DataError: it is none. FileNotFoundError: it is not there.
    """
    storage, entries = files_at(url)
    if len(entries) != 1 or not storage.exists(entries[0].path):
        raise DataError(f"there is no file {url}: give vocabulary.csv of the public set")
    text = storage.read(entries[0].path).decode("utf-8", errors="replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not {_NUMBER, _NAME} <= set(rows.fieldnames or ()):
        raise DataError(f"{url} is no vocabulary: its first line must name the columns {_NUMBER} and {_NAME}")
    names = {}
    for row in rows:
        number = row[_NUMBER] or ""
        if not number.isdecimal() or int(number) >= MOST_CLASSES:
            raise DataError(f"line {rows.line_num} of {url} has the label '{number}': it must be 0…{MOST_CLASSES - 1}")
        names[int(number)] = row[_NAME] or ""
    return names
