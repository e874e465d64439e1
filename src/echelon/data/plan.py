"""Which rows of a dataset each lane gives at each step of an epoch: arithmetic without I/O.

An epoch's order is a pure function of (row-group sizes, L, seed, epoch). The row groups are permuted, the concatenated
row order is cut into L contiguous lanes, and inside a lane blocks of W rows are permuted. With t_k the rows in the
first k global steps, lane l has given ⌊(t_k + l)/L⌋ rows after k steps and holds ⌊(N + l)/L⌋. By Hermite's identity
both sum over the lanes to t_k and to N: nothing needs to divide anything, nothing is padded, repeated or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PLAN_VERSION = 1

_MOST_BLOCK_ROWS = 8192

Rows = NDArray[np.int64]

_NO_ROWS: Rows = np.empty(0, dtype=np.int64)


def default_lanes(batch_size: int) -> int:
    """The number of lanes of a run: the largest divisor of the batch in 32…64, else min(64, batch)."""
    divisors = [n for n in range(32, 65) if batch_size % n == 0]
    return max(divisors) if divisors else min(64, batch_size)


def steps_in_epoch(rows: int, batch_size: int) -> int:
    """Global steps in one epoch. A tail smaller than a quarter of a batch joins the last full step."""
    full, tail = divmod(rows, batch_size)
    return full if full and 4 * tail < batch_size else full + (tail > 0)


def block_rows_of(group_rows: Sequence[int]) -> int:
    """W for a split with these row groups: a quarter of one, so that most blocks lie in one of them.

    A block of narrow rows is cut short: the permutation of more rows costs more than it mixes.
    """
    filled = sum(rows > 0 for rows in group_rows)
    return max(1, min(_MOST_BLOCK_ROWS, -(-sum(group_rows) // max(4 * filled, 1))))


def deal(lanes: int, weights: Sequence[float]) -> tuple[range, ...]:
    """Contiguous shares of lanes, one a rank, in proportion to the weights and with at least one lane each.

    Raises:
        ValueError: there are more ranks than lanes, or a weight is not a positive number.
    """
    ranks = len(weights)
    if ranks > lanes:
        raise ValueError(f"{ranks} workers cannot share {lanes} lanes: use at most {lanes} workers or more lanes")
    if not all(0 < w < float("inf") for w in weights):
        raise ValueError(f"the weights of the workers must be positive numbers, got {list(weights)}")
    ideal = np.asarray(weights, dtype=np.float64) / float(np.sum(weights)) * lanes
    counts = np.maximum(np.floor(ideal), 1).astype(np.int64)
    while (missing := lanes - int(counts.sum())) != 0:
        lack = ideal - counts
        if missing > 0:
            counts[int(np.argmax(lack))] += 1
        else:
            counts[int(np.argmin(np.where(counts > 1, lack, np.inf)))] -= 1
    ends = np.cumsum(counts)
    return tuple(range(int(end - count), int(end)) for count, end in zip(counts, ends, strict=True))


def permutation(size: int, *key: int) -> Rows:
    """A permutation that depends on the key alone, whatever the numpy version.

    Sorting raw generator output is used because only bit streams, not Generator.permutation, are promised to be stable.
    """
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class Steps:
    """The rows that some lanes give in consecutive steps.

    rows: row numbers of the dataset (int64, [n]), sorted by step, then lane, then position in the lane.
    ends: where each step ends in `rows` (int64, [number of steps]).
    """

    rows: Rows
    ends: Rows


@dataclass(frozen=True)
class EpochPlan:
    """The order of one epoch.

    group_rows: rows of each row group, in the dataset's order; a row's number counts through them.
    batch_size: rows of a global step. lanes: L, at most the batch. block_rows: W.
    shuffle: False leaves row groups and blocks in the dataset's order.
    """

    group_rows: tuple[int, ...]
    batch_size: int
    lanes: int
    block_rows: int
    seed: int
    epoch: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= self.batch_size:
            raise ValueError(f"lanes must be between 1 and the batch of {self.batch_size} rows, got {self.lanes}")
        if self.block_rows < 1:
            raise ValueError(f"a block must have at least one row, got {self.block_rows}")

    def of_epoch(self, epoch: int) -> EpochPlan:
        """The plan of another epoch of the same run."""
        return replace(self, epoch=epoch)

    @cached_property
    def rows(self) -> int:
        """Rows in the dataset, and so in the epoch."""
        return sum(self.group_rows)

    @cached_property
    def steps(self) -> int:
        return steps_in_epoch(self.rows, self.batch_size)

    def rows_before(self, step: int) -> int:
        """t_k: rows in the first `step` global steps."""
        if not 0 <= step <= self.steps:
            raise ValueError(f"step {step} is outside this epoch of {self.steps} steps")
        return self.rows if step == self.steps else step * self.batch_size

    @cached_property
    def group_order(self) -> Rows:
        """The row groups in the order of this epoch."""
        count = len(self.group_rows)
        return permutation(count, self.seed, self.epoch) if self.shuffle else np.arange(count, dtype=np.int64)

    @cached_property
    def _group_ends(self) -> Rows:
        """[groups]: where each row group, in the epoch's order, ends in the concatenated order."""
        return np.cumsum(self._sizes[self.group_order], dtype=np.int64)

    @cached_property
    def _sizes(self) -> Rows:
        return np.asarray(self.group_rows, dtype=np.int64)

    @cached_property
    def _group_shifts(self) -> Rows:
        """[groups]: what turns a position in the epoch's order into a row number, in the epoch's order of groups."""
        starts = np.cumsum(self._sizes, dtype=np.int64) - self._sizes
        return starts[self.group_order] - (self._group_ends - self._sizes[self.group_order])

    def lane_rows(self, lane: int) -> int:
        """Rows that a lane holds."""
        return (self.rows + lane) // self.lanes

    @cached_property
    def _lane_starts(self) -> Rows:
        """[L]: where each lane begins in the concatenated order."""
        held = (self.rows + np.arange(self.lanes, dtype=np.int64)) // self.lanes
        return np.cumsum(held, dtype=np.int64) - held

    def given(self, lane: int, step: int) -> int:
        """Rows that a lane has given after `step` steps."""
        return (self.rows_before(step) + lane) // self.lanes

    def block_groups(self, lane: int, step: int) -> tuple[int, ...]:
        """The row groups under the block that a lane reads at a step: all that seeking to that step must open."""
        return tuple(self.held_groups([lane], step).tolist())

    def held_groups(self, share: Sequence[int], step: int) -> Rows:
        """The row groups under the blocks that the lanes of a share read at a step, once each, in the epoch's order.

        A lane that has given all its rows still counts with its last block.
        """
        lanes = np.asarray(share, dtype=np.int64)
        held = (self.rows + lanes) // self.lanes
        lanes, held = lanes[held > 0], held[held > 0]
        position = np.minimum((self.rows_before(step) + lanes) // self.lanes, held - 1)
        shift = lanes * self.block_rows // self.lanes
        start = (position + shift) // self.block_rows * self.block_rows - shift
        end = np.minimum(start + self.block_rows, held)
        begin = self._lane_starts[lanes]
        first = np.searchsorted(self._group_ends, begin + np.maximum(start, 0), side="right")
        count = np.searchsorted(self._group_ends, begin + end - 1, side="right") - first + 1
        places = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        groups = self.group_order[np.unique(places)]
        return groups[self._sizes[groups] > 0]

    def shared_groups(self, share: Sequence[int]) -> Rows:
        """The row groups in which a lane of the share ends and its neighbour begins.

        Their rows are given at both ends of the epoch.
        """
        lanes = np.asarray(share, dtype=np.int64)
        begin = self._lane_starts[lanes[np.isin(lanes - 1, lanes)]]
        place = np.searchsorted(self._group_ends, begin, side="right")
        place = place[place < len(self._group_ends)]
        begin = begin[: len(place)]
        groups = self.group_order[place]
        return np.unique(groups[begin > self._group_ends[place] - self._sizes[groups]])

    def _lane_order(self, lane: int, first: int, last: int) -> Rows:
        """Positions in the concatenated order of a lane's rows [first, last), in the order in which they are given."""
        pieces = []
        while first < last:
            start, order = self._block_at(lane, first)
            pieces.append(order[first - start : last - start])
            first = start + len(order)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _block_at(self, lane: int, position: int) -> tuple[int, Rows]:
        """The block over a position of a lane: where it begins in the lane, and `_lane_order` of all its rows.

        Blocks of lane l are shifted by lW/L, so that the lanes change blocks one after another and reading is spread
        evenly over the steps instead of coming in a burst.
        """
        start, order = self._latest_blocks.get(lane, (0, _NO_ROWS))
        if start <= position < start + len(order):
            return start, order
        shift = lane * self.block_rows // self.lanes
        block = (position + shift) // self.block_rows
        start = max(block * self.block_rows - shift, 0)
        size = min((block + 1) * self.block_rows - shift, self.lane_rows(lane)) - start
        order = permutation(size, self.seed, self.epoch, lane, block) if self.shuffle else np.arange(size)
        order = order + (self._lane_starts[lane] + start)
        self._latest_blocks[lane] = start, order
        return start, order

    @cached_property
    def _latest_blocks(self) -> dict[int, tuple[int, Rows]]:
        """What `_block_at` gave last, by lane: consecutive windows of steps ask for the same blocks again."""
        return {}

    def counts(self, share: Sequence[int], first_step: int, last_step: int) -> Rows:
        """How many rows each lane of a share gives in each of steps [first_step, last_step): int64, [steps, lanes]."""
        return np.diff(self._given(share, first_step, last_step), axis=1).T

    def _given(self, share: Sequence[int], first_step: int, last_step: int) -> Rows:
        """[lanes of the share, steps + 1]: `given` before each of the steps and after the last."""
        before = np.asarray([self.rows_before(k) for k in range(first_step, last_step + 1)], dtype=np.int64)
        return (before + np.asarray(share, dtype=np.int64)[:, None]) // self.lanes

    def read(self, share: Sequence[int], first_step: int, last_step: int) -> Steps:
        """The rows that the lanes of a share give in steps [first_step, last_step)."""
        steps = last_step - first_step
        given = self._given(share, first_step, last_step)
        spans = zip(share, given[:, 0].tolist(), given[:, -1].tolist(), strict=True)
        orders = [self._lane_order(lane, first, last) for lane, first, last in spans if last > first]
        if not orders:
            return Steps(np.empty(0, dtype=np.int64), np.zeros(steps, dtype=np.int64))
        counts = np.diff(given, axis=1)
        step_of = np.repeat(np.tile(np.arange(steps), len(share)), counts.ravel())
        positions = np.concatenate(orders)[np.argsort(step_of, kind="stable")]
        return Steps(self._row_numbers(positions), np.cumsum(counts.sum(axis=0), dtype=np.int64))

    def _row_numbers(self, positions: Rows) -> Rows:
        """Positions in the concatenated order → row numbers of the dataset."""
        place = np.searchsorted(self._group_ends, positions, side="right")
        return positions + self._group_shifts[place]
