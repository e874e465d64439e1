"""The batches of a run: those rows of every global step that this process's lanes give, read ahead by a thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

from echelon.data.batch import Batch
from echelon.data.bucketing import Bucketing
from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.memory import Room, room_for
from echelon.data.plan import EpochPlan, block_rows_of
from echelon.data.prefetch import Prefetcher
from echelon.data.read import RowReader, Taken
from echelon.errors import DataError, StorageError

FIRST_DEADLINE = 600.0
DEADLINE = 50.0
"""Seconds to wait for a batch: less than the 60 s that peers wait for one another, so that who stalls says so first."""


@dataclass(frozen=True, order=True)
class Position:
    """Where a run stands: the epoch, and the global step within it."""

    epoch: int
    step: int


Item = tuple[Position, Batch | None]

_RoomOf = Callable[[Sequence[int]], Room]


class _Shares:
    """Whose lanes are read from which global step on. Another thread may ask while one deals again."""

    def __init__(self, share: Sequence[int]) -> None:
        self._deals: tuple[tuple[int, Sequence[int]], ...] = ((0, share),)

    def deal(self, step: int, share: Sequence[int]) -> None:
        self._deals = (*(old for old in self._deals if old[0] < step), (step, share))

    def at(self, step: int) -> tuple[Sequence[int], float]:
        """The share at a global step, and the step at which the next one begins."""
        deals = self._deals
        later = [begin for begin, _ in deals if begin > step]
        return [share for begin, share in deals if begin <= step][-1], min(later, default=math.inf)


class Loader:
    """Shuffled batches of a split.

    The global batch of a step is a function of (manifest, lanes, batch_size, seed, epoch, step) alone. Each process
    reads the rows that the lanes of its share give to it, in the same order whatever the other shares are.

    columns: names, None for all. batch_size: rows of a global step. share: lanes of this process.
    cache_mb: a split that takes no more when it is decoded stays in memory once it was read.
    budget_mb: most memory for the rest; see `echelon.data.memory`.
    prefetch: steps that are read ahead. readers: threads that decode row groups.
    bucketing: sorts rows by length over some steps, see there; the order of rows is a function of it too.
    deadline: most seconds to wait for a batch that is not the first.
    steps: global steps of an epoch. block_rows: W. order: the plan of the first epoch.

    Raises:
        DataError: no such split or column, or the rows do not fit the budget; the message has the numbers.
        ValueError: a lane of the share does not exist.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        columns: Iterable[str] | None = None,
        *,
        batch_size: int,
        lanes: int,
        seed: int,
        share: Sequence[int],
        cache_mb: int = 1024,
        budget_mb: int = 2048,
        prefetch: int = 8,
        readers: int = 1,
        bucketing: Bucketing | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        groups = RowGroups(dataset, split, columns)
        if bucketing is not None:
            bucketing.check(groups.schema)
        group_rows = tuple(groups.rows.tolist())
        self.block_rows = block_rows_of(group_rows)
        self.order = EpochPlan(group_rows, batch_size, lanes, self.block_rows, seed, epoch=0)
        self.steps = self.order.steps
        self._check(share)
        self._shares = _Shares(share)
        self._room_of: _RoomOf = partial(
            room_for, groups, self.order, prefetch=prefetch, readers=readers, cache_mb=cache_mb, budget_mb=budget_mb,
            name=f"the split '{split}' of {dataset.url}", window=bucketing.steps if bucketing else 0,
        )  # fmt: skip
        self._bucketing = bucketing
        self._room = self._room_of(share)
        self._reader = RowReader(groups, self._room.slots, readers)
        self._name = f"reading batches of '{split}' of {dataset.url}"
        self._deadline = deadline
        self._reading: Prefetcher[list[Item]] | None = None
        self._waited = 0.0
        self._given = 0

    @property
    def seconds_waiting(self) -> float:
        """How long the consumer has waited for batches in total."""
        return self._waited + (self._reading.seconds_waiting if self._reading else 0.0)

    @property
    def horizon(self) -> int:
        """The first global step, counted over the epochs from 0, of which certainly nothing has been read ahead.

        It stays so until the next batch is taken.
        """
        return self._given + (self._room.ahead + 1) * self._room.steps if self._reading else 0

    def deal(self, step: int, share: Sequence[int]) -> None:
        """From a global step on this process reads the lanes of another share; what is read ahead stays as it is.

        Args:
            step: counted over the epochs from 0.

        Raises:
            ValueError: the step is before the `horizon`, or a lane does not exist.
            DataError: the share needs more memory than the budget.
        """
        self._check(share)
        if step < self.horizon:
            raise ValueError(f"lanes can be dealt again from step {self.horizon} on, got {step}")
        self._room_of(share)
        self._shares.deal(step, share)

    @cached_property
    def most_lanes(self) -> int:
        """The largest share that the memory budget allows."""
        low, high = 1, self.order.lanes
        while low < high:
            middle = (low + high + 1) // 2
            try:
                self._room_of(range(middle))
                low = middle
            except DataError:
                high = middle - 1
        return low

    def batches(self, start: Position, epochs: int) -> Iterator[Item]:
        """One item a global step, from a position to the end of the last of `epochs` epochs.

        An item is the step's position and the rows of this process; None where its lanes give none. Batches are over
        memory of their own, and tensors that are kept stay as they are. A new call ends the one before.

        Raises:
            DataError, StorageError: when the item that they are about is reached. RuntimeError: this loader was
                closed or asked for other batches meanwhile, and these are not all that there are.
        """
        self.close()
        if self._reading is not None:
            raise StorageError(f"{self._name}: the thread before does not end; is its storage up?")
        windows = _windows(
            self._reader, self.order, self._shares, self._room_of, self._room.steps, self._bucketing, start, epochs
        )
        self._given = start.epoch * self.steps + start.step
        reading = Prefetcher(windows, self._room.ahead, self._name, self._deadline, FIRST_DEADLINE)
        self._reading = reading
        try:
            for window in reading:
                # What else is read ahead lies behind this window.
                self._given += len(window)
                yield from window
            if self._reading is not reading:
                raise RuntimeError(f"{self._name}: the loader was closed or asked for other batches before their end")
        finally:
            if self._reading is reading:
                self.close()

    def _check(self, share: Sequence[int]) -> None:
        beyond = [lane for lane in share if not 0 <= lane < self.order.lanes]
        if beyond:
            raise ValueError(
                f"the lanes {', '.join(map(str, beyond))} are not among the {self.order.lanes} of this run"
            )

    def close(self) -> None:
        """End the thread that reads. One that waits for a stalled storage is left to end with the process."""
        if self._reading is not None and self._reading.close():
            self._waited += self._reading.seconds_waiting
            self._reading = None


def _windows(
    reader: RowReader,
    order: EpochPlan,
    shares: _Shares,
    room_of: _RoomOf,
    most: int,
    bucketing: Bucketing | None,
    start: Position,
    epochs: int,
) -> Iterator[list[Item]]:
    """The items of some consecutive steps at a time, so that their rows are planned and gathered by one call.

    The first windows are short: who starts or resumes gets the first batch after reading one block a lane. With buckets
    each is a bucket, or what is wanted of one.

    Args:
        most: steps of a window.
    """
    size, share = 1, None
    for epoch in range(start.epoch, epochs):
        plan, begin = order.of_epoch(epoch), epoch * order.steps
        first, later = start.step if epoch == start.epoch else 0, None
        while first < plan.steps:
            dealt, until = shares.at(begin + first)
            if dealt is not share:
                share, later, room = dealt, None, room_of(dealt)
                reader.reserve(room.slots)
                longest = min(room.steps, most)
            if later is None:
                later = frozenset(plan.shared_groups(share).tolist())
            low, high = bucketing.bounds(first, plan.steps) if bucketing else (first, first + min(size, longest))
            last = int(min(high, plan.steps, until - begin))
            soon = plan.held_groups(shares.at(begin + last)[0], last).tolist()
            read = plan.read(share, low, high if bucketing else last)
            taken = reader.take(read.rows, soon=soon, later=later)
            if bucketing:
                counts = plan.counts(share, low, high)
                taken = taken.ordered(bucketing.order(plan, counts, taken.lengths(bucketing.column), low))
            yield _items(epoch, low, read.ends.tolist(), taken)[first - low : last - low]
            first, size = last, min(2 * size, most)


def _items(epoch: int, first: int, ends: list[int], taken: Taken) -> list[Item]:
    """The items of the steps from `first` on, which end at these places among the rows taken."""
    spans = enumerate(pairwise([0, *ends]), first)
    return [(Position(epoch, step), taken.batch(a, b) if b > a else None) for step, (a, b) in spans]
