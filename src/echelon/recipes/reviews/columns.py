"""A dataset of reviews: its columns, and what their numbers mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echelon.data.schema import Column, Schema

TOKENS, LENGTH, LABEL, KEY, TEXT, PRODUCT = "tokens", "length", "label", "key", "text", "product"
PAD, UNKNOWN, FIRST_WORD = 1, 2, 3
"""Ids: what fills a row behind its last word, a word that is not in the vocabulary, and the vocabulary's first word."""
UNLABELLED = -1
"""The label of a review without a rating; only predictions can be made of it."""
WORDS = "words"
"""The asset with the vocabulary, see `Vocabulary.to_asset`."""
STARS = 5
CLASSES = {2: ("negative", "positive"), 5: ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")}
"""The names of the classes in the order of the labels, by how many there are."""
_FIRST_POSITIVE = 4
_MOST_UINT16 = 1 << 16


def schema_of(length: int, ids: int, *, text: bool = True, product: bool = False) -> Schema:
    """The columns of a dataset of reviews.

    length: entries of "tokens", of which "length" (1 to `length`) are a review's and the rest `PAD`. ids: how many
        different ones there may be, so all are below. text: whether it keeps what the reviewers wrote, in "text".
        product: whether it names the product of each, or "" where it is not known.
    """
    columns = [Column(TOKENS, ids_dtype(ids), (length,)), Column(LENGTH, "int64"), Column(LABEL, "int64")]
    columns.append(Column(KEY, "string"))
    columns += [Column(PRODUCT, "string")] if product else []
    columns += [Column(TEXT, "string")] if text else []
    return Schema(tuple(columns))


def ids_dtype(ids: int) -> str:
    """The type of ids below a number: uint16, or int32 if they do not fit."""
    return "uint16" if ids <= _MOST_UINT16 else "int32"


def labels_of(stars: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The labels of ratings of 1 to 5 stars, int64 [n]: 0 to 4, or of two classes 0 for 1 to 3 stars and 1 for more.

    What has no rating (`UNLABELLED`) has no label.
    """
    labels = stars - 1 if classes == STARS else (stars >= _FIRST_POSITIVE).astype(np.int64)
    return np.where(stars == UNLABELLED, UNLABELLED, labels)
