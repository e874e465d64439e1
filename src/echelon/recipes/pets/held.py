"""All rows of a split in memory, as a solver takes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.columns import FEATURES, LABEL

_BATCH = 2048
_BYTES, _BYTES_OF_WIDE = 16, 40
"""Of each number, all copies together: as it is read, with the column for the bias, and what the products need; fewer
rows than features are turned into their span in double precision.
"""


def in_memory(
    dataset: Dataset, split: str, memory_mb: int, *, otherwise: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All features, float32 [n, features], and labels, int64 [n], of a split.

    Args:
        memory_mb: that solving may take. otherwise: what can be done where that is too little.

    Raises:
        EchelonError: the rows need more memory. DataError: features are not finite.
    """
    rows, (width,) = dataset.rows(split), dataset.schema.column(FEATURES).shape
    assert width is not None
    needed = (_BYTES_OF_WIDE if rows <= width else _BYTES) * rows * (width + 1) / 2**20
    if needed > memory_mb:
        raise EchelonError(
            f"{rows:,} rows of {width:,} features need {needed:,.0f} MB to be solved in memory, more than --memory-mb "
            f"{memory_mb}: raise it, or {otherwise}"
        )
    features, labels = np.empty((rows, width), np.float32), np.empty(rows, np.int64)
    for batch in span_batches(dataset, split, (FEATURES, LABEL), 0, rows, _BATCH):
        at = slice(int(batch.rows[0]), int(batch.rows[-1]) + 1)
        features[at], labels[at] = batch[FEATURES].numpy(), batch[LABEL].numpy()
    if strange := int((~np.isfinite(features).all(axis=1)).sum()):
        raise DataError(f"{strange} of {rows} images of {dataset.url} have features that are no finite numbers")
    return features, labels


def with_bias(rows: Tensor) -> Tensor:
    """Rows with a last column of ones, whose weight is the bias."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
