"""Which files of reviews there are, as spans of lines for the tasks that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from echelon.data.division import TEST, TRAIN, VAL
from echelon.data.files import files_at, is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.reviews.blocks import Span, line_ends
from echelon.spark.job import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SUPPORTED = (
    "JSON lines, one review each (*.jsonl, *.json, *.ndjson, also .gz), such as Amazon's (reviewText, overall, asin) "
    "and Yelp's (text, stars, business_id): a file, a folder or a pattern; optionally in folders train, val and test. "
    "Or the old HDF5 with rows of word ids and a label (*.h5, *.hdf5)"
)
_ENDINGS = tuple(f".{kind}{zipped}" for kind in ("jsonl", "json", "ndjson") for zipped in ("", ".gz"))
_HDF5 = (".h5", ".hdf5")
_SPLITS = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST}
_FIRST = (TEST, VAL, TRAIN, "")
"""Where a text is in several splits, it stays in the first of these: what is to be tested on is never trained on."""
_LEAST_SPAN, _MOST_SPAN, _SPANS = 4 << 20, 64 << 20, 64
_ZIPPED = 3
"""About how many times larger reviews are than their zipped files."""


@dataclass(frozen=True)
class Source:
    """Files of reviews. url: what the user called them. hdf5: whether they are of the old kind."""

    url: str
    storage: Storage
    files: tuple[Span, ...]
    hdf5: bool = False


def find_source(url: str) -> Source:
    """The files at a URL, those of a given split to test on first. Each is one span, whose first line is 1.

    Raises:
        DataError: there are none, or some of either kind.
    """
    storage, entries = files_at(url)
    shown = [entry for entry in entries if entry.size and not is_hidden(entry.path, underlined=True)]
    lines = [entry for entry in shown if entry.path.lower().endswith(_ENDINGS)]
    old = [entry for entry in shown if entry.path.lower().endswith(_HDF5)]
    if lines and old:
        raise DataError(f"{url} holds both {lines[0].path} and {old[0].path}: prepare them by themselves")
    if not lines and not old:
        there = f"there are {len(entries)} files, such as {entries[0].path}" if entries else "there are no files"
        raise DataError(f"no reviews were found at {url}: {there}. Supported is {SUPPORTED}")
    files = [Span(entry.path, 0, entry.size, 1, _split_of(entry)) for entry in lines or old]
    return Source(url, storage, tuple(sorted(files, key=lambda file: (_FIRST.index(file.split), file.path))), bool(old))


def divided(session: SparkSession, source: Source) -> tuple[Span, ...]:
    """Files as spans that tasks can read at the same time; they depend on the files alone.

    A file that is not zipped is cut where it is large, and read once beforehand to count its lines, so that the lines
    of each span have their numbers.
    """
    total = sum(file.end for file in source.files)
    each = min(_MOST_SPAN, max(_LEAST_SPAN, -(-total // _SPANS)))
    cut = [_cut(file, each) for file in source.files]
    counted = [span for spans in cut for span in spans[:-1]]
    ends = run_tasks(session, partial(_line_ends, source.storage), counted, description="Echelon: count lines")
    counts = iter(map(int, ends))
    return tuple(span for spans in cut for span in _numbered(spans, counts))


def _numbered(spans: Sequence[Span], counts: Iterator[int]) -> Iterator[Span]:
    """The spans of one file with the numbers of their first lines. counts: `line_ends` of all but the last."""
    yield spans[0]
    before = 0
    for span in spans[1:]:
        before += next(counts)
        # The line that ends at the span's first byte or after it, and the next is the first one that begins in it.
        yield replace(span, first_line=before + 2)


def bytes_of(span: Span) -> int:
    """About how many bytes the reviews of a span have."""
    return (span.end - span.start) * (_ZIPPED if span.is_zipped else 1)


def _line_ends(storage: Storage, span: Span) -> bytes:
    return str(line_ends(storage, span)).encode()


def _cut(file: Span, each: int) -> Sequence[Span]:
    if file.is_zipped:
        return (file,)
    count = -(-file.end // each)
    bounds = [file.end * number // count for number in range(count + 1)]
    return [Span(file.path, start, end, 1, file.split) for start, end in pairwise(bounds)]


def _split_of(entry: Entry) -> str:
    *folders, _ = entry.path.split("/")
    return next((split for folder in folders if (split := split_named(folder))), "")


def split_named(name: str) -> str:
    """The split that a folder or table is for by its name; "" for none."""
    return _SPLITS.get(name.lower(), "")
