"""Decoded row groups side by side in memory, so that rows of any of them are gathered by one call.

Every column of fixed shape has one array [slots · slot rows, *shape]. A row group lies in one slot of it, and a row
number becomes a place in the array by arithmetic. One `numpy.take` then copies the rows of many steps, without the
GIL.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import numpy as np

from echelon.data.cells import Decoded
from echelon.data.groups import RowGroups
from echelon.data.plan import Rows
from echelon.data.schema import Column

_NOWHERE = -1


class _Joined:
    """The rows of a column of variable length, one after another in one array.

    A copy without gaps: Arrow's own memory behind such a column may be twice as large as what it holds.
    """

    def __init__(self, column: Column, rows: Decoded) -> None:
        self._values = np.concatenate([np.empty((0, *column.inner), column.numpy_dtype), *rows])
        self._bounds = np.cumsum([0, *map(len, rows)]).tolist()

    def __getitem__(self, row: int) -> np.ndarray:
        return self._values[self._bounds[row] : self._bounds[row + 1]]


class Arena:
    """Room for some row groups of a split.

    slots: row groups that find room. With room for all of them a row lies at its own number, and none is ever evicted.
    Who calls it is one thread; `fill` alone may run in others, for different row groups.
    """

    def __init__(self, groups: RowGroups, slots: int) -> None:
        self._groups = groups
        self._whole = slots >= len(groups)
        self.slots = min(slots, len(groups))
        slot_rows = int(groups.rows.max(initial=0))
        # Memory that is reserved here is taken from the system when it is first written.
        size = int(groups.rows.sum()) if self._whole else self.slots * slot_rows
        self._fixed = {c.name: np.empty((size, *c.inner), c.numpy_dtype) for c in groups.fixed}
        self._ragged: dict[int, dict[str, _Joined | Decoded]] = {}
        self._free = [] if self._whole else [slot * slot_rows for slot in reversed(range(self.slots))]
        self._base = np.full(len(groups), _NOWHERE, dtype=np.int64)
        self._recent: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, group: int) -> bool:
        return group in self._recent

    def touch(self, group: int) -> None:
        """Say that a row group is used now."""
        self._recent.move_to_end(group)

    def admit(self, group: int, spare: Collection[int]) -> bool:
        """Give a row group room. Where none is left, the least recently used one that is not in `spare` is evicted.

        Returns whether there is room now.
        """
        if self._whole:
            self._base[group] = self._groups.starts[group]
        else:
            if not self._free:
                victim = next((g for g in self._recent if g not in spare), None)
                if victim is None:
                    return False
                self.evict(victim)
            self._base[group] = self._free.pop()
        self._recent[group] = None
        return True

    def evict(self, group: int) -> None:
        """Take a row group's room from it."""
        del self._recent[group]
        self._ragged.pop(group, None)
        if not self._whole:
            self._free.append(int(self._base[group]))
        self._base[group] = _NOWHERE

    def fill(self, group: int, values: Mapping[str, Decoded], start: int = 0) -> None:
        """Put the values of some rows of a row group, from its row `start` on, where it was given room.

        Columns of variable length: of all of its rows.
        """
        first = int(self._base[group]) + start
        for column in self._groups.fixed:
            cells = values[column.name]
            self._fixed[column.name][first : first + len(cells)] = cells
        if self._groups.ragged:
            self._ragged[group] = {
                c.name: values[c.name] if c.is_string else _Joined(c, values[c.name]) for c in self._groups.ragged
            }

    def gather(self, rows: Rows, groups: Rows, out: Mapping[str, np.ndarray]) -> None:
        """Copy rows of the columns of fixed shape.

        rows: row numbers of row groups that were filled; groups: the row group of each. out: by column [n, *shape].
        """
        index = rows if self._whole else rows + (self._base - self._groups.starts)[groups]
        for name, target in out.items():
            np.take(self._fixed[name], index, axis=0, out=target, mode="clip")

    def ragged(self, name: str, rows: Rows, groups: Rows) -> list:
        """The values of a ragged column, one a row; arguments as of `gather`."""
        offsets = rows - self._groups.starts[groups]
        return [self._ragged[g][name][i] for g, i in zip(groups.tolist(), offsets.tolist(), strict=True)]
