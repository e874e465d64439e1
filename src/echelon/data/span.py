"""Rows of a split in the dataset's own order, for evaluation and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from echelon.data.batch import Batch
from echelon.data.cells import Decoded
from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.prefetch import Prefetcher
from echelon.data.read import Taken

_AHEAD = 2


def span_batches(
    dataset: Dataset, split: str, columns: Iterable[str] | None, start: int, end: int, batch_rows: int
) -> Iterator[Batch]:
    """Rows [start, end) of a split in order, `batch_rows` at a time; the last batch has what is left.

    columns: names, None for all. Row groups are read by a thread ahead of their use, each once and one at a time.

    Raises:
        DataError: no such split or column, or a damaged file. StorageError: it cannot be read at present.
        ValueError: the rows are not all in the split, or a batch has no row.
    """
    rows = dataset.rows(split)
    if not 0 <= start <= end <= rows or batch_rows < 1:
        raise ValueError(f"cannot read rows [{start}, {end}) of {rows}, {batch_rows} at a time")
    groups = RowGroups(dataset, split, columns)
    return _ahead(_cut(groups, start, end, batch_rows), f"reading rows of '{split}' of {dataset.url}")


def _ahead(batches: Iterator[Batch], name: str) -> Iterator[Batch]:
    reading = Prefetcher(batches, _AHEAD, name)
    try:
        yield from reading
    finally:
        reading.close()


def _cut(groups: RowGroups, start: int, end: int, batch_rows: int) -> Iterator[Batch]:
    """The batches, put together from slices of row groups."""
    decoded = _Latest(groups)
    for first in range(start, end, batch_rows):
        numbers = np.arange(first, min(first + batch_rows, end), dtype=np.int64)
        pieces = [decoded.slice(group, numbers) for group in np.unique(groups.of(numbers)).tolist()]
        fixed = {c.name: torch.from_numpy(np.concatenate([piece[c.name] for piece in pieces])) for c in groups.fixed}
        ragged = {c.name: [value for piece in pieces for value in piece[c.name]] for c in groups.ragged}
        yield Taken(groups.schema, torch.from_numpy(numbers), fixed, ragged).batch(0, len(numbers))


class _Latest:
    """The row group that was asked for last stays decoded: the next batch often begins in it."""

    def __init__(self, groups: RowGroups) -> None:
        self._groups = groups
        self._number = -1
        self._values: dict[str, Decoded] = {}

    def slice(self, group: int, rows: np.ndarray) -> dict[str, Decoded]:
        """The values of those of the consecutive rows that lie in a row group."""
        if group != self._number:
            self._values = {}
            self._number, self._values = group, self._groups.decode(group)
        start = int(self._groups.starts[group])
        low, high = max(int(rows[0]) - start, 0), min(int(rows[-1]) + 1 - start, int(self._groups.rows[group]))
        return {name: values[low:high] for name, values in self._values.items()}
