"""Rows of similar lengths in the same step, so that little of a batch is padding.

The rows that a lane gives in some consecutive steps, a bucket, are sorted by length and dealt to these steps anew: the
shortest ones to one of the steps, the next ones to another, in a random order of the steps that all lanes share. So all
lanes give their short rows in the same step. A lane needs to know no other lane's rows, hence what the plan promises
stays true: every row once, the same global batches for any shares, and any position is reached by reading one bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echelon.data.plan import EpochPlan, Rows, permutation
from echelon.data.schema import Schema
from echelon.errors import DataError

_SALT = 0x6275636B
"""Tells the order of steps from other permutations of the plan."""


@dataclass(frozen=True)
class Bucketing:
    """steps: consecutive steps of a bucket. column: one of variable length, or a whole number that is the length."""

    steps: int
    column: str

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a bucket must have at least one step, got {self.steps}")

    def check(self, schema: Schema) -> None:
        """
        Raises:
            DataError: the column does not say how long a row is.
        """
        column = schema.column(self.column)
        if not column.is_variable and (column.shape or column.is_string or column.numpy_dtype.kind not in "iu"):
            raise DataError(
                f"rows cannot be sorted by the length of '{self.column}': name a column of variable length or of whole "
                "numbers"
            )

    def bounds(self, step: int, steps: int) -> tuple[int, int]:
        """The first and the past-the-end step of the bucket of a step. steps: of the epoch."""
        first = step // self.steps * self.steps
        return first, min(first + self.steps, steps)

    def order(self, plan: EpochPlan, counts: Rows, lengths: Rows, first: int) -> Rows:
        """In which order the rows of a bucket are given: places among them (int64, [rows]).

        The steps end where they did. What a lane gives does not depend on the other lanes of `counts`.

        Args:
            counts: rows that each lane of a share gives in each step of the bucket (int64, [steps, lanes]). lengths: of
                the rows of `plan.read`, in its order (int64, [rows]). first: the bucket's first step.
        """
        steps, lanes = counts.shape
        step = np.repeat(np.repeat(np.arange(steps), lanes), counts.ravel())
        lane = np.repeat(np.tile(np.arange(lanes), steps), counts.ravel())
        turn = permutation(steps, plan.seed, plan.epoch, first // self.steps, 0, _SALT)
        # Both are grouped by lane, and in a lane there are as many rows as places.
        order = np.empty(len(lengths), np.int64)
        order[np.lexsort((turn[step], lane))] = np.lexsort((lengths, lane))
        return order
