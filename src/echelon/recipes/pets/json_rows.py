"""Features as JSON files, one array of numbers for each image, called as the image is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.pets.columns import ALL, FEATURES, KEY, LABEL
from echelon.recipes.pets.sources import SUFFIX, Item
from echelon.spark.prepare import Found, Problem, Rows


def json_path(key: str) -> str:
    """Where the features of an image are, of which `key` is the path: with the ending .json in place of its own."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}{SUFFIX}"


def to_json(features: NDArray[np.float32]) -> bytes:
    """Features, float32 [n], as a JSON array of the shortest numbers that are read as the same float32.

    Raises:
        ValueError: one is not finite, which JSON does not have.
    """
    if not np.isfinite(features).all():
        raise ValueError("JSON has no numbers that are not finite")
    return f"[{','.join(features.astype(str))}]".encode()


def from_json(content: bytes) -> NDArray[np.float32]:
    """Float32 [n] of a JSON array.

    Raises:
        DataError: it is none of finite numbers.
    """
    try:
        values = json.loads(content)
        with np.errstate(over="ignore"):
            features = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"it is no JSON array of numbers: {error}") from None
    if not isinstance(values, list) or features.ndim != 1 or not features.size:
        raise DataError("it is not one JSON array of numbers")
    if any(isinstance(value, bool | str) for value in values):
        raise DataError("it holds something else than numbers")
    if not np.isfinite(features).all():
        raise DataError("it holds numbers that float32 does not have")
    return features


@dataclass(frozen=True)
class ReadJson:
    """The rows of some JSON files, in a task. features: numbers that each must hold."""

    storage: Storage
    features: int

    def __call__(self, item: Item) -> Iterator[Found]:
        yield from item.problems
        kept: list[tuple[str, int]] = []
        features: list[NDArray[np.float32]] = []
        for path, label in item.files:
            try:
                found = from_json(self.storage.read(path))
            except DataError as error:
                yield Problem(path, str(error))
                continue
            if len(found) != self.features:
                yield Problem(path, f"it holds {len(found):,} numbers, the first file {self.features:,}")
                continue
            features.append(found)
            kept.append((path, label))
        if kept:
            keys, labels = zip(*kept, strict=True)
            labels_of = np.array(labels, np.int64)
            yield Rows({FEATURES: np.stack(features), LABEL: labels_of, KEY: list(keys)}, ALL)
