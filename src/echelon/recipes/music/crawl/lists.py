"""Plain lists of songs: addresses one a line, or tables with a column of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from echelon.errors import DataError
from echelon.recipes.music.crawl.track import Track, plain
from echelon.recipes.music.manifest import json_of

ENDINGS = (".txt", ".csv", ".jsonl")
_TEXTS = {"title": ("title",), "artist": ("artist",), "licence": ("licence", "license"), "page": ("page",)}

OnProblem = Callable[[str, str], None]


def is_list(listing: str) -> bool:
    """Whether this names a list on this machine, and no address."""
    return "://" not in listing and listing.lower().endswith(ENDINGS)


def tracks_in(path: Path, on_problem: OnProblem) -> list[Track]:
    """The songs of a list, in its order.

    .txt: an address a line; what begins with # does not count. .csv with a header, and .jsonl: url, and where they are
    known title, artist, licence, genre (several are separated by ";") and page. A manifest is such a list.

    Args:
        on_problem: called with the place and the fault of what is no song.

    Raises:
        DataError: the list cannot be read, is no text, or has no column of addresses.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reading = {".txt": _plain_lines, ".csv": _csv_rows, ".jsonl": _json_rows}[path.suffix.lower()]
            return [track for place, row in reading(lines) if (track := _track(row, place, on_problem))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the list {path} cannot be read: {error}") from None


def _plain_lines(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"line {number}", {"url": line.strip()}


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    rows = csv.DictReader(lines)
    if "url" not in (rows.fieldnames or ()):
        raise DataError(f"the list has no column 'url', but {', '.join(rows.fieldnames or ['none'])}")
    for row in rows:
        yield f"line {rows.line_num}", row


def _json_rows(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = json_of(line)
            yield f"line {number}", row if isinstance(row, dict) else {}


def _track(row: Mapping[str, object], place: str, on_problem: OnProblem) -> Track | None:
    url = row.get("url")
    if not isinstance(url, str) or not re.match(r"https?://", url.strip(), re.IGNORECASE):
        on_problem(place, f"has no address with http:// or https://, but {url!r}")
        return None
    texts = {name: next(filter(None, (_text(row, key) for key in keys)), "") for name, keys in _TEXTS.items()}
    genres = tuple(filter(None, (plain(part) for part in _text(row, "genre").split(";"))))
    return Track(url=plain(url), genres=genres, **texts)


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    return plain(value) if isinstance(value, str) else ""
