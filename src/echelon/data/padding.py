"""Rows of different lengths as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from echelon.data.schema import Column


def pad(column: Column, rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Rows of a column of variable length, with zeros up to the longest of them.

    rows: n arrays [length, *inner].

    Returns: the tensor [n, longest, *inner] in the column's type, and the lengths (int64, [n]).
    """
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    padded = np.zeros((len(rows), int(lengths.max(initial=0)), *column.inner), column.numpy_dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded), torch.from_numpy(lengths)
