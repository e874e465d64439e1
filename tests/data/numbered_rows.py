"""Rows whose every value follows from their number, so that a test can tell whether a row is whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("image", "float32", (3, 4)),
        Column("label", "int64"),
        Column("frames", "int16", (None, 2)),
        Column("key", "string"),
    )
)


def rows_of(first: int, last: int) -> dict[str, Any]:
    """Rows [first, last). The label is the row's number."""
    numbers = np.arange(first, last)
    return {
        "image": (numbers[:, None, None] + np.arange(12).reshape(3, 4) / 16).astype(np.float32),
        "label": numbers,
        "frames": [np.full((n % 7, 2), n % 1000, dtype=np.int16) for n in numbers],
        "key": [f"row {n}" for n in numbers],
    }


def batches(rows: int, size: int = 512) -> Iterator[dict[str, Any]]:
    """Rows [0, rows) in batches."""
    return (rows_of(first, min(first + size, rows)) for first in range(0, rows, size))


def labels_of(dataset: Dataset, split: str = "train") -> np.ndarray:
    """The labels in the dataset's order, after checking that every row is whole."""
    groups = RowGroups(dataset, split)
    found = [groups.decode(group) for group in range(len(groups))]
    for values in found:
        for i, label in enumerate(values["label"].tolist()):
            expected = rows_of(label, label + 1)
            np.testing.assert_array_equal(values["image"][i], expected["image"][0])
            np.testing.assert_array_equal(values["frames"][i], expected["frames"][0])
            assert values["key"][i] == expected["key"][0]
    return np.concatenate([values["label"] for values in found])
