"""The words that a model knows, and texts as the numbers of their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from echelon.recipes.reviews.columns import FIRST_WORD, PAD, UNKNOWN, ids_dtype


@dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their ids, which begin with `FIRST_WORD`."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> Vocabulary:
        return cls(tuple(words))

    @property
    def ids(self) -> int:
        """How many different ids there are, with 0, which means nothing, `PAD` and `UNKNOWN`: rows of an embedding."""
        return len(self.words) + FIRST_WORD

    @cached_property
    def _known(self) -> pa.StringArray:
        return pa.array(self.words, pa.string())

    def encode(self, tokens: pa.ListArray, length: int) -> tuple[NDArray, NDArray[np.int64]]:
        """The first words of each text as ids [n, length] (uint16, or int32 of a large vocabulary), with `PAD` behind
        them, and how many they are, int64 [n], at least 1: a text without words has one that is not known.

        tokens: list<string> [n], without nulls.
        """
        offsets = tokens.offsets.to_numpy().astype(np.int64)
        starts, lengths = offsets[:-1], np.minimum(np.diff(offsets), length)
        ids = np.full((len(tokens), length), PAD, ids_dtype(self.ids))
        ids[lengths == 0, 0] = UNKNOWN
        rows = np.repeat(np.arange(len(tokens)), lengths)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found = pc.fill_null(pc.index_in(tokens.values, value_set=self._known), UNKNOWN - FIRST_WORD)
        ids[rows, places] = found.to_numpy()[starts[rows] + places] + FIRST_WORD
        return ids, np.maximum(lengths, 1)

    def to_asset(self) -> NDArray[np.uint8]:
        """The words in UTF-8, one a line."""
        return np.frombuffer("\n".join(self.words).encode(), np.uint8).copy()

    @classmethod
    def from_asset(cls, asset: NDArray[np.uint8]) -> Vocabulary:
        """The vocabulary that `to_asset` wrote."""
        content = asset.tobytes().decode()
        return cls(tuple(content.split("\n")) if content else ())
