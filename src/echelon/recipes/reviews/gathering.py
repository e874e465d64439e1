"""Reviews on their way to a dataset, before the vocabulary is known: read and cleaned, and each text once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from echelon.data.division import TEST, TRAIN, VAL, Division
from echelon.data.schema import Column, Schema
from echelon.data.storage import Storage
from echelon.recipes.reviews.blocks import DamagedFile, LongLine, Span, blocks_of
from echelon.recipes.reviews.cleaning import Cleaning, joined, tokens_of
from echelon.recipes.reviews.columns import KEY, PRODUCT, STARS, TEXT
from echelon.recipes.reviews.lines import Fields, Reviews, parsed
from echelon.spark.prepare import Found, Merge, Problem, Rows

DIGEST, VOTES, WORDS, GIVEN = "digest", "votes", "words", "given"
LINES, MALFORMED, EMPTY, DAMAGED = "lines", "malformed", "empty", "damaged/"
"""Counters; the last is followed by the path of a file."""
SAME_TEXTS = Merge(same=DIGEST, added=VOTES)
_GIVEN = ("", TRAIN, VAL, TEST)
_DIGEST_BYTES = 16


def gathered_schema(*, text: bool, product: bool) -> Schema:
    """The columns of gathered reviews.

    "digest": of all words of a text. "votes": how often it was given 1 to 5 stars. "words": those that are kept, with
    spaces between them. "given": the number of the split that its file is for, 0 for none.
    """
    columns = [Column(DIGEST, "uint8", (_DIGEST_BYTES,)), Column(VOTES, "int64", (STARS,)), Column(KEY, "string")]
    columns += [Column(WORDS, "string"), Column(GIVEN, "int8")]
    columns += [Column(PRODUCT, "string")] if product else []
    columns += [Column(TEXT, "string")] if text else []
    return Schema(tuple(columns))


@dataclass(frozen=True)
class Read:
    """Reviews of a span, block by block, with the problems of lines that are none; in a task."""

    storage: Storage
    fields: Fields
    labelled: bool = True

    def __call__(self, span: Span) -> Iterator[Reviews | Problem | Counter[str]]:
        try:
            for block in blocks_of(self.storage, span):
                if isinstance(block, LongLine):
                    yield Problem(f"{span.path}:{block.line}", f"it has {block.size:,} bytes: no review is that long")
                    yield Counter({LINES: 1, MALFORMED: 1})
                    continue
                reviews, malformed = parsed(block, self.fields, labelled=self.labelled)
                for line, reason in malformed:
                    yield Problem(f"{span.path}:{line}", reason)
                yield Counter({LINES: len(reviews) + len(malformed), MALFORMED: len(malformed)})
                yield reviews
        except DamagedFile as error:
            yield Problem(span.path, f"it is damaged, and what comes behind that is lost: {error}")
            yield Counter({DAMAGED + span.path: 1})


@dataclass(frozen=True)
class Gather:
    """The rows of a span, in a task. length: words that are kept. seed: of the order."""

    read: Read
    cleaning: Cleaning
    length: int
    seed: int
    schema: Schema

    def __call__(self, span: Span) -> Iterator[Found]:
        for found in self.read(span):
            if isinstance(found, Reviews):
                yield from self._rows(span, found)
            else:
                yield found

    def _rows(self, span: Span, reviews: Reviews) -> Iterator[Found]:
        tokens = tokens_of(reviews.texts, self.cleaning)
        sizes, cleaned = np.diff(tokens.offsets.to_numpy()), joined(tokens)
        kept = sizes > 0
        yield Counter({EMPTY: int((~kept).sum())})
        digests = digests_of(cleaned)
        votes = np.zeros((len(reviews), STARS), np.int64)
        votes[np.arange(len(reviews)), reviews.stars - 1] = 1
        rows = {
            KEY: keys_of(span, reviews),
            WORDS: cleaned if sizes.max(initial=0) <= self.length else joined(pc.list_slice(tokens, 0, self.length)),
            PRODUCT: reviews.products,
            TEXT: reviews.texts,
        }
        values = {name: rows[name].filter(pa.array(kept)) for name in self.schema.names if name in rows}
        given = np.full(int(kept.sum()), _GIVEN.index(span.split), np.int8)
        yield Rows(
            {**values, DIGEST: digests[kept], VOTES: votes[kept], GIVEN: given}, keys=self._places(digests[kept])
        )

    def _places(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """A place in the global order for each digest, as random as these are, and another one for each seed."""
        return mixed(np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0], self.seed)


def keys_of(span: Span, reviews: Reviews) -> pa.StringArray:
    """The name of each review: its file and line."""
    return pc.binary_join_element_wise(span.path, pa.array(reviews.lines).cast(pa.string()), ":")


def digests_of(texts: pa.StringArray) -> NDArray[np.uint8]:
    """128 bits that tell texts apart: BLAKE2b, uint8 [n, 16]."""
    content = b"".join(
        hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest() for text in texts.cast(pa.binary()).to_pylist()
    )
    return np.frombuffer(content, np.uint8).reshape(-1, _DIGEST_BYTES)


def mixed(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Numbers in [0, 2^63) that depend on random ones and on a seed (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state = numbers + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((state ^ (state >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def splits_of(rows: pa.RecordBatch, division: Division) -> NDArray[np.object_]:
    """The split of each gathered row: that of its file, else by its product, else by its text."""
    splits = np.array(_GIVEN, dtype=object)[rows.column(GIVEN).to_numpy()]
    if PRODUCT in rows.schema.names:
        products = rows.column(PRODUCT).dictionary_encode()
        names = products.dictionary.to_pylist()
        drawn = np.array([division.split_of(f"product {name}") if name else "" for name in names], dtype=object)
        splits = np.where(splits == "", drawn[products.indices.to_numpy()], splits)
    left = np.flatnonzero(splits == "")
    digests = rows.column(DIGEST).take(pa.array(left)).to_pylist()
    splits[left] = [division.split_of(digest.hex()) for digest in digests]
    return splits


def stars_of(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rating that most gave, int64 [n], 1 to 5; of equally many the lower one, as most ratings are high.

    votes: int64 [n, 5].
    """
    return votes.argmax(axis=1).astype(np.int64) + 1
