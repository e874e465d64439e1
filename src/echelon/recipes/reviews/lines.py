"""JSON lines as Arrow columns: all lines of a block at once where they are as they should be, else one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from echelon.recipes.reviews.blocks import Block
from echelon.recipes.reviews.columns import STARS, UNLABELLED

_SHOWN = 80


@dataclass(frozen=True)
class Fields:
    """Where a review stands in a line. product: None without one. quoted: whether ratings are texts, as "5.0".
    counted: whether products are numbers.
    """

    text: str
    rating: str
    product: str | None = None
    quoted: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Reviews:
    """Some reviews.

    lines: their numbers, int64 [n]. texts: strings [n]. stars: int64 [n], 1 to 5, or `UNLABELLED`. products: strings
    [n], "" where it is not known.
    """

    lines: NDArray[np.int64]
    texts: pa.StringArray
    stars: NDArray[np.int64]
    products: pa.StringArray

    def __len__(self) -> int:
        return len(self.lines)


Malformed = tuple[int, str]
"""The number of a line, and what is wrong with it."""


def parsed(block: Block, fields: Fields, *, labelled: bool = True) -> tuple[Reviews, list[Malformed]]:
    """The reviews of a block, and the lines that are none. Empty lines are nothing.

    labelled: whether a line without a rating is malformed.
    """
    content = block.content.replace(b"\r\n", b"\n") if b"\r" in block.content else block.content
    found = _at_once(content, block.first_line, fields)
    if found is None:
        return _one_by_one(content, block.first_line, fields, labelled)
    wrong = pc.is_null(found.texts).to_numpy(zero_copy_only=False)
    valid = (found.ratings >= 1) & (found.ratings <= STARS) & (found.ratings == np.floor(found.ratings))
    missing = np.isnan(found.ratings)
    wrong |= ~(valid | missing) | (missing & labelled)
    if wrong.any():
        return _one_by_one(content, block.first_line, fields, labelled)
    stars = np.where(missing, UNLABELLED, found.ratings).astype(np.int64)
    return Reviews(found.lines, found.texts, stars, found.products), []


@dataclass(frozen=True)
class _Table:
    lines: NDArray[np.int64]
    texts: pa.StringArray
    ratings: NDArray[np.float64]
    products: pa.StringArray


def _at_once(content: bytes, first_line: int, fields: Fields) -> _Table | None:
    """What Arrow makes of lines if it is sure that each holds exactly one object of the usual types."""
    letters = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    if not len(ends):
        return None
    starts = np.append(0, ends[:-1] + 1)
    # An object cannot have a line's end between braces, so that these lines begin and end where objects do.
    if (letters[starts] != ord("{")).any() or (letters[ends - 1] != ord("}")).any():
        return None
    wanted = [(fields.text, pa.string()), (fields.rating, pa.string() if fields.quoted else pa.float64())]
    if fields.product is not None:
        wanted.append((fields.product, pa.int64() if fields.counted else pa.string()))
    try:
        table = pa.json.read_json(
            pa.BufferReader(content),
            pa.json.ReadOptions(use_threads=False, block_size=len(content) + 1),
            pa.json.ParseOptions(explicit_schema=pa.schema(wanted), unexpected_field_behavior="ignore"),
        ).combine_chunks()
        if len(table) != len(ends):
            return None
        table.validate(full=True)
        texts, ratings = (table.column(name).combine_chunks() for name in (fields.text, fields.rating))
        stars = pc.fill_null(ratings.cast(pa.float64()), float("nan"))
        products = _strings(table.column(fields.product).combine_chunks()) if fields.product else _none(len(table))
    except pa.ArrowException:
        return None
    lines = np.arange(first_line, first_line + len(table))
    return _Table(lines, texts, stars.to_numpy(zero_copy_only=False), products)


def _strings(values: pa.Array) -> pa.StringArray:
    return pc.fill_null(values.cast(pa.string()), "")


def _none(count: int) -> pa.StringArray:
    return pa.array([""] * count, pa.string())


def _one_by_one(content: bytes, first_line: int, fields: Fields, labelled: bool) -> tuple[Reviews, list[Malformed]]:
    rows: list[tuple[int, str, int, str]] = []
    malformed: list[Malformed] = []
    for number, line in enumerate(content.split(b"\n")[:-1], first_line):
        if not line.strip():
            continue
        try:
            rows.append((number, *_review(line, fields, labelled)))
        except ValueError as error:
            malformed.append((number, str(error)))
    numbers, texts, stars, products = zip(*rows, strict=True) if rows else ((), (), (), ())
    reviews = Reviews(
        np.array(numbers, np.int64),
        pa.array(texts, pa.string()),
        np.array(stars, np.int64),
        pa.array(products, pa.string()),
    )
    return reviews, malformed


def _review(line: bytes, fields: Fields, labelled: bool) -> tuple[str, int, str]:
    """Text, stars and product of one line.

    Raises:
        ValueError: it is no review.
    """
    values = json_object(line)
    text, rating = values.get(fields.text), values.get(fields.rating)
    if not isinstance(text, str):
        raise ValueError(f"'{fields.text}' is {_shown(text)}, not a text")
    _require_whole(text, fields.text)
    product = values.get(fields.product) if fields.product else None
    if isinstance(product, dict | list | bool):
        raise ValueError(f"'{fields.product}' is {_shown(product)}, not the name or number of a product")
    name = "" if product is None else str(product)
    _require_whole(name, fields.product)
    return text, _stars(rating, fields.rating, labelled), name


def json_object(line: bytes) -> dict[str, Any]:
    """The object of one line.

    Raises:
        ValueError: there is none.
    """
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None
    except RecursionError:
        raise ValueError("it is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {str(error)[:_SHOWN]}") from None
    if not isinstance(values, dict):
        raise ValueError(f"it is {_shown(values)}, not an object")
    return values


def _stars(rating: Any, name: str, labelled: bool) -> int:
    if rating is None and not labelled:
        return UNLABELLED
    try:
        number = float("nan") if isinstance(rating, bool) else float(rating)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if number not in range(1, STARS + 1):
        raise ValueError(f"'{name}' is {_shown(rating)}, not 1 to {STARS} stars")
    return int(number)


def _require_whole(text: str, name: str | None) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"'{name}' has half of a character (an unpaired surrogate)") from None


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    shown = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def objects_of(block: Block, count: int) -> Iterator[dict[str, Any]]:
    """The objects of the first lines of a block that have one."""
    for line in block.content.split(b"\n")[:count]:
        try:
            yield json_object(line)
        except ValueError:
            continue
