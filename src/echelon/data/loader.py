"""The batches of a run: those rows of every global step that this process's lanes give, read ahead by a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from echelon.data.batch import Batch
from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.memory import room_for
from echelon.data.plan import EpochPlan, block_rows_of
from echelon.data.prefetch import Prefetcher
from echelon.data.read import RowReader, Taken
from echelon.errors import StorageError

FIRST_DEADLINE = 600.0
DEADLINE = 50.0
"""Seconds to wait for a batch: less than the 60 s that peers wait for one another, so that who stalls says so first."""


@dataclass(frozen=True, order=True)
class Position:
    """Where a run stands: the epoch, and the global step within it."""

    epoch: int
    step: int


Item = tuple[Position, Batch | None]


class Loader:
    """Shuffled batches of a split.

    The global batch of a step is a function of (manifest, lanes, batch_size, seed, epoch, step) alone. Each process
    reads the rows that the lanes of its share give to it, in the same order whatever the other shares are.

    columns: names, None for all. batch_size: rows of a global step. share: lanes of this process.
    cache_mb: a split that takes no more when it is decoded stays in memory once it was read.
    budget_mb: most memory for the rest; see `echelon.data.memory`.
    prefetch: steps that are read ahead. readers: threads that decode row groups.
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
        deadline: float = DEADLINE,
    ) -> None:
        groups = RowGroups(dataset, split, columns)
        group_rows = tuple(groups.rows.tolist())
        self.block_rows = block_rows_of(group_rows)
        self.order = EpochPlan(group_rows, batch_size, lanes, self.block_rows, seed, epoch=0)
        self.steps = self.order.steps
        beyond = [lane for lane in share if not 0 <= lane < lanes]
        if beyond:
            raise ValueError(f"the lanes {', '.join(map(str, beyond))} are not among the {lanes} of this run")
        self._share = share
        self._room = room_for(
            groups, self.order, share, prefetch, readers, cache_mb=cache_mb, budget_mb=budget_mb,
            name=f"the split '{split}' of {dataset.url}",
        )  # fmt: skip
        self._reader = RowReader(groups, self._room.slots, readers)
        self._name = f"reading batches of '{split}' of {dataset.url}"
        self._deadline = deadline
        self._reading: Prefetcher[list[Item]] | None = None
        self._waited = 0.0

    @property
    def seconds_waiting(self) -> float:
        """How long the consumer has waited for batches in total."""
        return self._waited + (self._reading.seconds_waiting if self._reading else 0.0)

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
        windows = _windows(self._reader, self.order, self._share, self._room.steps, start, epochs)
        reading = Prefetcher(windows, self._room.ahead, self._name, self._deadline, FIRST_DEADLINE)
        self._reading = reading
        try:
            for window in reading:
                yield from window
            if self._reading is not reading:
                raise RuntimeError(f"{self._name}: the loader was closed or asked for other batches before their end")
        finally:
            if self._reading is reading:
                self.close()

    def close(self) -> None:
        """End the thread that reads. One that waits for a stalled storage is left to end with the process."""
        if self._reading is not None and self._reading.close():
            self._waited += self._reading.seconds_waiting
            self._reading = None


def _windows(
    reader: RowReader, order: EpochPlan, share: Sequence[int], steps: int, start: Position, epochs: int
) -> Iterator[list[Item]]:
    """The items of some consecutive steps at a time, so that their rows are planned and gathered by one call.

    The first windows are short: who starts or resumes gets the first batch after reading one block a lane.
    """
    size = 1
    for epoch in range(start.epoch, epochs):
        plan = order.of_epoch(epoch)
        later = frozenset(plan.shared_groups(share).tolist())
        first = start.step if epoch == start.epoch else 0
        while first < plan.steps:
            last = min(first + size, plan.steps)
            read = plan.read(share, first, last)
            taken = reader.take(read.rows, soon=plan.held_groups(share, last).tolist(), later=later)
            yield _items(epoch, first, read.ends.tolist(), taken)
            first, size = last, min(2 * size, steps)


def _items(epoch: int, first: int, ends: list[int], taken: Taken) -> list[Item]:
    """The items of the steps from `first` on, which end at these places among the rows taken."""
    spans = enumerate(pairwise([0, *ends]), first)
    return [(Position(epoch, step), taken.batch(a, b) if b > a else None) for step, (a, b) in spans]
