"""How much a loader holds in memory: decided before anything is read, and refused above the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echelon.data.groups import RowGroups
from echelon.data.plan import EpochPlan
from echelon.errors import DataError

_MB = 1 << 20
_MOST_STEPS = 16
_WINDOW_BYTES = 32 * _MB
_CHANGES = 8
"""A window has so few steps that about one lane in so many changes its row group in it."""
_LANES_A_SPARE = 4
"""Lanes for which there is one row group more: with these nearly all are read once an epoch."""
_TRANSIENT = 4
"""A row group while it is decoded: its compressed pages, the pages, and Arrow's table, which grows by doubling."""
_READER_BYTES = 2 * _MB
_SLACK = 1.125
"""What allocators hold beyond what they were asked for: for each reading thread, and of everything."""


@dataclass(frozen=True)
class Room:
    """What a loader may hold.

    slots: decoded row groups. steps: global steps that are gathered at once, a window. ahead: windows that wait.
    bytes: memory that all of it takes at most.
    """

    slots: int
    steps: int
    ahead: int
    bytes: int


def room_for(
    groups: RowGroups,
    plan: EpochPlan,
    share: Sequence[int],
    prefetch: int,
    readers: int,
    *,
    cache_mb: int,
    budget_mb: int,
    name: str,
    window: int = 0,
) -> Room:
    """Room for the lanes of a share.

    window: steps that have to be gathered at once; 0 for as many as is good.

    A split that takes at most `cache_mb` when it is decoded is held whole. Of a larger one each lane holds the row
    groups under one block and those under the next: 2 × lanes × a decoded row group. What a lane does not need of that
    keeps row groups that it shares with its neighbour.

    Raises:
        DataError: that is more than `budget_mb`.
    """
    step = _step_bytes(groups, plan, share)
    steps = window or max(1, min(_MOST_STEPS, prefetch, _WINDOW_BYTES // max(step, 1)))
    cached = int(groups.bytes.sum())
    if cached <= cache_mb * _MB:
        return Room(len(groups), steps, -(-prefetch // steps), cached)
    steps = window or max(1, min(steps, plan.rows * plan.lanes // (_CHANGES * len(groups) * plan.batch_size)))
    ahead = -(-prefetch // steps)
    group = int(groups.rows.max(initial=0)) * groups.row_bytes + int(groups.ragged_bytes.max(initial=0))
    slots = min(len(groups), 2 * len(share) + len(share) // _LANES_A_SPARE + 2)
    # One window more is with the consumer and one in the making.
    windows = (ahead + 2) * steps * step
    needed = int(_SLACK * (slots * group + readers * (_TRANSIENT * group + _READER_BYTES) + windows))
    if needed > budget_mb * _MB:
        raise DataError(
            f"{name} needs {_in_mb(needed)} MB of memory, more than the budget of {budget_mb} MB: {len(share)} lanes "
            f"hold {slots} row groups of {_in_mb(group)} MB, and {_in_mb(windows)} MB of batches are read ahead. "
            "Allow more memory (--memory-mb), use fewer lanes (--lanes) or more workers, "
            "or write the dataset with smaller row groups"
        )
    return Room(slots, steps, ahead, needed)


def _step_bytes(groups: RowGroups, plan: EpochPlan, share: Sequence[int]) -> int:
    """About what the rows of a share in one step take."""
    rows = plan.batch_size * len(share) / plan.lanes
    return int(rows * np.average(groups.bytes / np.maximum(groups.rows, 1), weights=np.maximum(groups.rows, 1)))


def _in_mb(size: int) -> str:
    return f"{size / _MB:,.1f}" if size < 100 * _MB else f"{size / _MB:,.0f}"
