"""Loaders over rows whose every value follows from their label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echelon.data.batch import Batch
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

ROWS, BATCH, LANES, SEED = 517, 40, 8, 3
BEGIN = Position(0, 0)
SCHEMA = Schema(
    (
        Column("image", "float32", (3, 4)),
        Column("half", "float16"),
        Column("label", "int64"),
        Column("tokens", "uint16", (None,)),
        Column("frames", "int8", (None, 2)),
        Column("key", "string"),
    )
)


def rows_of(numbers: np.ndarray) -> dict:
    """Rows whose every value follows from a number of theirs, the label."""
    return {
        "image": (numbers[:, None, None] + np.arange(12).reshape(3, 4) / 16).astype(np.float32),
        "half": (numbers % 1000).astype(np.float16),
        "label": numbers,
        "tokens": [np.arange(n % 11, dtype=np.uint16) + n for n in numbers.tolist()],
        "frames": [np.full((n % 3, 2), n % 100, dtype=np.int8) for n in numbers.tolist()],
        "key": [f"row {n}" for n in numbers.tolist()],
    }


def write_rows(url: str) -> Dataset:
    """Some 25 row groups; their last one is smaller than the others."""
    return write_dataset(url, SCHEMA, {"train": [rows_of(np.arange(ROWS))]}, row_group_mb=0.002)


def loader_of(dataset: Dataset, share: Sequence[int] | None = None, **changes) -> Loader:
    """A loader without a cache, of all lanes if no share is given."""
    options = {"batch_size": BATCH, "lanes": LANES, "seed": SEED, "cache_mb": 0, **changes}
    share = range(options["lanes"]) if share is None else share
    return Loader(dataset, "train", options.pop("columns", None), share=share, **options)


def all_of(loader: Loader, start: Position = BEGIN, epochs: int = 1) -> list[tuple[Position, Batch | None]]:
    items = list(loader.batches(start, epochs))
    loader.close()
    return items


def check_values(batch: Batch) -> None:
    """Every cell of a batch follows from its label, and what lies beyond the length of a row is zero."""
    wanted = rows_of(batch["label"].numpy())
    for name in ("image", "half"):
        np.testing.assert_array_equal(batch[name].numpy(), wanted[name], strict=True)
    assert batch.strings("key") == wanted["key"]
    for name in ("tokens", "frames"):
        padded, lengths = batch[name].numpy(), batch.lengths[name].tolist()
        assert padded.shape[1] == max(lengths)
        for row, length, values in zip(padded, lengths, wanted[name], strict=True):
            np.testing.assert_array_equal(row[:length], values, strict=True)
            assert not row[length:].any()
