"""Writing: nothing is lost, nothing depends on how it was computed, and a killed writer leaves no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

SCHEMA = Schema(
    (
        Column("image", "float32", (3, 4)),
        Column("label", "int64"),
        Column("frames", "int16", (None, 2)),
        Column("key", "string"),
    )
)


def rows_of(first: int, last: int) -> dict:
    """Rows whose every value follows from their number, the label."""
    numbers = np.arange(first, last)
    return {
        "image": (numbers[:, None, None] + np.arange(12).reshape(3, 4) / 16).astype(np.float32),
        "label": numbers,
        "frames": [np.full((n % 7, 2), n % 1000, dtype=np.int16) for n in numbers],
        "key": [f"row {n}" for n in numbers],
    }


def batches(rows: int, size: int = 512) -> list[dict]:
    return [rows_of(first, min(first + size, rows)) for first in range(0, rows, size)]


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


def test_every_row_arrives_once_and_in_another_order(tmp_path: Path) -> None:
    dataset = write_dataset(str(tmp_path / "d"), SCHEMA, {"train": batches(2000), "test": batches(30)})
    labels = labels_of(open_dataset(dataset.url))
    assert sorted(labels) == list(range(2000))
    assert sorted(labels_of(dataset, "test")) == list(range(30))
    # A random order has a displacement of a third of the rows on average.
    assert np.abs(labels - np.arange(2000)).mean() == pytest.approx(2000 / 3, rel=0.1)
    assert dataset.manifest.shuffled


def test_without_a_seed_the_order_is_kept(tmp_path: Path) -> None:
    dataset = write_dataset(str(tmp_path / "d"), SCHEMA, {"train": batches(1000)}, shuffle_seed=None)
    assert labels_of(dataset).tolist() == list(range(1000))
    assert not dataset.manifest.shuffled
