"""Which fields of JSON lines hold the text, the rating and the product, found out from the first lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.reviews.blocks import Block, DamagedFile, Span, blocks_of
from echelon.recipes.reviews.lines import Fields, objects_of
from echelon.recipes.reviews.options import Fitting, PrepareOptions

_TEXTS: tuple[str, ...] = ("reviewText", "text", "review_body")
_RATINGS: tuple[str, ...] = ("overall", "stars", "rating", "star_rating")
_PRODUCTS: tuple[str, ...] = ("product_id", "parent_asin", "asin", "business_id")
_FILES, _LINES, _HEAD = 16, 100, 256 << 10
NONE = "none"


def find_fields(
    storage: Storage, spans: Sequence[Span], options: PrepareOptions, *, fitting: Fitting | None = None
) -> Fields:
    """The fields that the options name, else the first known ones that occur in the first lines.

    fitting: for a trained model, whose own fields come before the known ones; there need be no rating.

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
    texts, ratings, products = _TEXTS, _RATINGS, _PRODUCTS
    if fitting is not None and (own := fitting.fields) is not None:
        texts, ratings = (own.text, *texts), (own.rating, *ratings)
        products = (own.product, *products) if own.product is not None else products
    remedy = "name it by --{}-field" if fitting is None else "give lines in which the {} has such a name"
    text = _chosen("text", options.text_field, texts, there, remedy)
    rating = _chosen("rating", options.rating_field, ratings, there, remedy, required=fitting is None) or ratings[0]
    product: str | None = None
    if options.product_field != NONE:
        product = _chosen("product", options.product_field, products, there, remedy, required=False)
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
    what: str, named: str | None, known: Sequence[str], there: Collection[str], remedy: str, *, required: bool = True
) -> str | None:
    found = next((name for name in ([named] if named is not None else known) if name in there), None)
    if found is None and (required or named is not None):
        wanted = f"no field '{named}'" if named is not None else f"none of the fields {', '.join(known)}"
        raise DataError(
            f"{wanted} with the {what} in the first lines, which have {', '.join(there)}: {remedy.format(what)}"
        )
    return found


def _first(lines: Sequence[dict[str, Any]], name: str) -> Any:
    return next((line[name] for line in lines if line.get(name) is not None), None)
