"""What a dataset of reviews says of itself, and whether it fits a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echelon.data.manifest import Dataset
from echelon.errors import DataError
from echelon.recipes.reviews.columns import LABEL, LENGTH, TOKENS, WORDS
from echelon.recipes.reviews.vocabulary import Vocabulary


@dataclass(frozen=True)
class Described:
    """classes: names in the order of the labels. words: the vocabulary, or empty where it is not known.

    ids: how many there may be, all below this number. length: of "tokens". cleaning: fields of `Cleaning`. fields:
    those of the lines that it was made of, as fields of `Fields`; empty where nobody knows.
    """

    classes: tuple[str, ...]
    words: tuple[str, ...]
    ids: int
    length: int
    cleaning: dict[str, bool]
    fields: dict[str, str | None]


def described(dataset: Dataset) -> Described:
    """What a dataset of reviews is.

    Raises:
        DataError: it is none.
    """
    schema, info = dataset.schema, dataset.info
    if not {TOKENS, LENGTH, LABEL} <= set(schema.names) or "classes" not in info:
        raise DataError(
            f"{dataset.url} is not a dataset of reviews (columns: {', '.join(schema.names)}): "
            "write one with 'echelon reviews prepare'"
        )
    (length,) = schema.column(TOKENS).inner
    words = Vocabulary.from_asset(dataset.asset(WORDS)) if WORDS in dataset.manifest.assets else Vocabulary(())
    fields = dict(info.get("fields", {}))
    return Described(tuple(info["classes"]), words.words, int(info["ids"]), length, dict(info["cleaning"]), fields)


def counts_of(dataset: Dataset, split: str, classes: Sequence[str]) -> list[int]:
    """How many rows of a split have each of the classes; all 0 where there is no such split."""
    counts = dataset.info["counts"].get(split, {})
    return [int(counts.get(name, 0)) for name in classes]


def check_fits(dataset: Dataset, classes: Sequence[str], words: Sequence[str], ids: int) -> None:
    """
    Raises:
        DataError: the labels of the dataset mean other classes than those that a model was trained on, or its ids other
            words.
    """
    its = described(dataset)
    if its.classes != tuple(classes):
        raise DataError(
            f"the labels of {dataset.url} mean {', '.join(its.classes)}; the model was trained on "
            f"{', '.join(classes)}: give the raw files, which are labelled anew, or prepare them with these --classes"
        )
    if its.words != tuple(words) or its.ids > ids:
        raise DataError(
            f"{dataset.url} has another vocabulary than the model ({len(its.words):,} words and {len(words):,}), so "
            "its ids mean other words: give the raw files, which get the words of the model"
        )


def check_labelled(missing: int, reviews: int) -> None:
    """
    Raises:
        DataError: of so many reviews some ratings are missing.
    """
    if missing:
        raise DataError(
            f"{missing:,} of {reviews:,} reviews have no rating, so nothing can be measured on them: "
            "use predict, or give a source with ratings"
        )
