"""Rows of a split by their numbers, gathered from row groups that stay decoded while they are of use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echelon.data.arena import Arena
from echelon.data.batch import Batch, Values
from echelon.data.buffers import Buffers
from echelon.data.groups import RowGroups
from echelon.data.padding import pad
from echelon.data.plan import Rows
from echelon.data.schema import Schema
from echelon.data.threads import in_threads


@dataclass(frozen=True)
class Taken:
    """The cells of n rows.

    rows: their numbers (int64, [n]). fixed: by column of fixed shape a tensor [n, *shape]. ragged: by column of strings
    or of variable length a list of n values.
    """

    schema: Schema
    rows: Tensor
    fixed: Mapping[str, Tensor]
    ragged: Mapping[str, list]

    def batch(self, start: int, end: int) -> Batch:
        """Rows [start, end): tensors over the same memory; columns of variable length padded to their longest row."""
        columns: dict[str, Values] = {}
        lengths: dict[str, Tensor] = {}
        for column in self.schema.columns:
            name = column.name
            if name in self.fixed:
                columns[name] = self.fixed[name][start:end]
            elif column.is_string:
                columns[name] = self.ragged[name][start:end]
            else:
                columns[name], lengths[name] = pad(column, self.ragged[name][start:end])
        return Batch(columns, self.rows[start:end], lengths)

    def lengths(self, name: str) -> Rows:
        """How long each row is by a column of variable length, or by one of whole numbers (int64, [n])."""
        if name in self.fixed:
            return self.fixed[name].numpy().astype(np.int64)
        return np.fromiter(map(len, self.ragged[name]), dtype=np.int64, count=len(self.rows))

    def ordered(self, places: Rows) -> Taken:
        """The same rows in another order (int64, [n]); what is of fixed shape is copied."""
        at = torch.from_numpy(places)
        fixed = {name: cells[at] for name, cells in self.fixed.items()}
        ragged = {name: [cells[place] for place in places.tolist()] for name, cells in self.ragged.items()}
        return Taken(self.schema, self.rows[at], fixed, ragged)


class RowReader:
    """Reads rows of a split for one thread.

    slots: row groups that are held decoded; any number from 1 on is right, too few cost repeated reading.
    readers: threads that decode row groups, the calling one if 1.
    """

    def __init__(self, groups: RowGroups, slots: int, readers: int = 1) -> None:
        self._groups = groups
        self._arena = Arena(groups, slots)
        self._buffers = {column.name: Buffers(column) for column in groups.fixed}
        self._readers = readers

    def reserve(self, slots: int) -> None:
        """Makes room for so many row groups, should there be less; what is decoded is decoded again then."""
        if self._arena.slots < min(slots, len(self._groups)):
            del self._arena  # never both at once: the budget is that of one
            self._arena = Arena(self._groups, slots)

    def take(self, rows: Rows, soon: Iterable[int] = (), later: Iterable[int] = ()) -> Taken:
        """The cells of some rows, in the order of their numbers as given (int64, [n]).

        soon, later: row groups that will be asked for again. Those of the first kind are the last to be given up.

        Raises:
            DataError, StorageError: as `RowGroups.decode`.
        """
        of = self._groups.of(rows)
        buffers = {name: buffer.take(len(rows)) for name, buffer in self._buffers.items()}
        arrays = {name: array for name, (array, _) in buffers.items()}
        ragged: dict[str, list] = {column.name: [None] * len(rows) for column in self._groups.ragged}
        wanted = (frozenset(soon), frozenset(later))
        passes = list(self._passes(np.unique(of)))
        for chosen in passes:
            self._bring(chosen, *wanted)
            at = slice(None) if len(passes) == 1 else np.flatnonzero(np.isin(of, chosen))
            self._gather(rows, of, at, arrays, ragged)
        fixed = {name: tensor for name, (_, tensor) in buffers.items()}
        return Taken(self._groups.schema, torch.from_numpy(rows), fixed, ragged)

    def _passes(self, needed: Rows) -> Iterator[list[int]]:
        """The row groups, at most as many at once as there is room for; those that are there already first."""
        ordered = sorted(needed.tolist(), key=lambda group: group not in self._arena)
        for start in range(0, len(ordered), self._arena.slots):
            yield ordered[start : start + self._arena.slots]

    def _bring(self, chosen: list[int], soon: frozenset[int], later: frozenset[int]) -> None:
        """Decode those of the row groups that are not there."""
        missing = [group for group in chosen if group not in self._arena]
        for group in chosen:
            if group in self._arena:
                self._arena.touch(group)
        now = soon.union(chosen)
        for group in missing:
            # There are never more row groups in `chosen` than slots, so the last try finds room.
            any(self._arena.admit(group, spare) for spare in (now.union(later), now, chosen))
        try:
            in_threads(self._load, missing, self._readers)
        except BaseException:
            for group in missing:
                self._arena.evict(group)
            raise

    def _load(self, group: int) -> None:
        for start, values in self._groups.pieces(group):
            self._arena.fill(group, values, start)

    def _gather(
        self, rows: Rows, of: Rows, at: Rows | slice, out: Mapping[str, np.ndarray], ragged: Mapping[str, list]
    ) -> None:
        """Copy the cells of the rows at some places of `rows` to the same places of the outputs."""
        some, groups = rows[at], of[at]
        if isinstance(at, slice):
            self._arena.gather(some, groups, out)
        else:
            part = {name: np.empty((len(some), *array.shape[1:]), array.dtype) for name, array in out.items()}
            self._arena.gather(some, groups, part)
            for name, array in out.items():
                array[at] = part[name]
        places = np.arange(len(rows))[at].tolist()
        for name, values in ragged.items():
            for place, value in zip(places, self._arena.ragged(name, some, groups), strict=True):
                values[place] = value
