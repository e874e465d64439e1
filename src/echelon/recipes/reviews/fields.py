"""Which fields of JSON lines hold the text, the rating and the product, found out from the first lines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.reviews.blocks import Block, DamagedFile, Span, blocks_of
from echelon.recipes.reviews.lines import Fields, objects_of
from echelon.recipes.reviews.options import PrepareOptions

_TEXTS = ("reviewText", "text", "review_body")
_RATINGS = ("overall", "stars", "rating", "star_rating")
_PRODUCTS = ("product_id", "parent_asin", "asin", "business_id")
_FILES, _LINES, _HEAD = 16, 100, 256 << 10
NONE = "none"


def find_fields(storage: Storage, spans: Sequence[Span], options: PrepareOptions, *, labelled: bool = True) -> Fields:
    """The fields that the options name, else the first known ones that occur in the first lines.

    labelled: whether there must be a rating.

    Raises:
        DataError: none of the lines is an object, or a field is in none of them; says which there are.
    """
    lines = _first_lines(storage, spans)
    if not lines:
        raise DataError(
            f"none of the first lines of {storage.url_of(spans[0].path)} is a JSON object: give JSON lines, one review "
            "each, as jq -c '.[]' makes them of one array"
        )
    there = dict.fromkeys(name for line in lines for name in line)
    text = _chosen("text", options.text_field, _TEXTS, there)
    rating = _chosen("rating", options.rating_field, _RATINGS, there, required=labelled) or _RATINGS[0]
    product: str | None = None
    if options.product_field != NONE:
        product = _chosen("product", options.product_field, _PRODUCTS, there, required=False)
    assert text is not None
    quoted = isinstance(_first(lines, rating), str)
    return Fields(text, rating, product, quoted, product is not None and isinstance(_first(lines, product), int))


def _first_lines(storage: Storage, spans: Sequence[Span]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for span in [span for span in spans if not span.start][:_FILES]:
        head = span if span.is_zipped else replace(span, end=min(span.end, _HEAD))
        with suppress(DamagedFile):
            first = next((block for block in blocks_of(storage, head) if isinstance(block, Block)), None)
            lines += objects_of(first, _LINES) if first else []
    return lines


def _chosen(
    what: str, named: str | None, known: Sequence[str], there: Sequence[str] | dict[str, None], *, required: bool = True
) -> str | None:
    found = next((name for name in ([named] if named is not None else known) if name in there), None)
    if found is None and (required or named is not None):
        wanted = f"no field '{named}'" if named is not None else f"none of the fields {', '.join(known)}"
        raise DataError(
            f"{wanted} in the first lines, which have {', '.join(there)}: name that of the {what} by --{what}-field"
        )
    return found


def _first(lines: Sequence[dict[str, Any]], name: str) -> Any:
    return next((line[name] for line in lines if line.get(name) is not None), None)
