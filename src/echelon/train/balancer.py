"""What one worker does for dynamic load balancing during a training; all workers do it at the same steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from echelon.comm import Comm
from echelon.data.loader import Loader
from echelon.train.balance import Balance, Cadence, Deal, Verdict, judge
from echelon.train.pace import Pace, Pacer

WARM_UP = 3
"""Steps at the beginning and after each deal that say nothing: memory is taken, and row groups are opened."""


@dataclass(frozen=True)
class Rebalanced:
    """What came of a measurement.

    lanes: of each worker, while it was measured. paces: by rank. next: the newest deal, or the one that stays.
    """

    lanes: tuple[int, ...]
    paces: tuple[Pace, ...]
    next: Deal
    verdict: Verdict

    def event(self) -> dict[str, Any]:
        """The values of the event that tells it; seconds are of a step."""
        return {
            "lanes": list(self.lanes),
            "rows_per_step": [pace.rows for pace in self.paces],
            "seconds_per_step": [pace.seconds for pace in self.paces],
            "next_lanes": list(self.next.counts),
            "from_step": self.next.step,
            "expected": [self.verdict.before, self.verdict.after],
            "remark": self.verdict.remark,
        }


class Balancer:
    """Measures this worker's pace, and deals lanes to its loader as rank 0 decides.

    balance: what is known and decided; equal on all ranks. It must be for this number of workers. step: global steps
    done. sync_every: steps between boundaries; lanes change at one.
    """

    def __init__(
        self, cadence: Cadence, loader: Loader, comm: Comm, sync_every: int, balance: Balance, step: int
    ) -> None:
        self.balance = balance
        self._cadence, self._loader, self._comm, self._sync_every = cadence, loader, comm, sync_every
        self._step, self._due = step, False
        self._pacer = Pacer(WARM_UP)
        for deal in balance.deals:
            self._take(deal)

    def note(self, step: int, rows: int, seconds: float) -> None:
        """Takes in what this worker spent on a global step, counted from 1, without waiting for others."""
        if self.balance.newest.step == step - 1:
            self._pacer = Pacer(WARM_UP)
        self._pacer.add(rows, seconds)

    def boundary(self, step: int) -> Rebalanced | None:
        """Deals lanes again after a global step if it is time; what was found, or None if it is not.

        It stays time until enough steps were measured with the newest shares. Two small collectives.
        """
        self._due |= self._cadence.due((self._step, step), self._loader.steps, self.balance.measured)
        self._step = step
        if not (self._due and self._pacer.ready and self.balance.newest.step <= step):
            return None
        self._due = False
        told = [json.loads(part) for part in self._comm.gather_bytes(json.dumps(self._own()).encode())]
        paces = tuple(Pace(*pace) for pace, _, _ in told)
        measured, lanes = self.balance.with_paces(paces), self.balance.newest.counts
        verdict = self._decided(measured, [most for _, most, _ in told])
        self.balance = measured
        if verdict.counts is not None:
            horizon = max(horizon for _, _, horizon in told)
            deal = Deal(-(-horizon // self._sync_every) * self._sync_every, verdict.counts)
            self.balance = measured.with_deal(deal, step)
            self._take(deal)
        return Rebalanced(lanes, paces, self.balance.newest, verdict)

    def _own(self) -> tuple[tuple[float, float, float], int, int]:
        """This worker's pace, the lanes for which it has memory, and the first step that it has not read ahead."""
        pace = self._pacer.pace()
        return (pace.rows, pace.seconds, pace.error), self._loader.most_lanes, self._loader.horizon

    def _decided(self, balance: Balance, most: list[int]) -> Verdict:
        """Rank 0's verdict. Others might come to another one: processors differ in the last digit."""
        said = b""
        if self._comm.world.is_first:
            said = json.dumps(vars(judge(balance, self._loader.order.batch_size, most))).encode()
        verdict = Verdict(**json.loads(self._comm.gather_bytes(said)[0]))
        return replace(verdict, counts=tuple(verdict.counts) if verdict.counts is not None else None)

    def _take(self, deal: Deal) -> None:
        self._loader.deal(deal.step, deal.shares[self._comm.world.rank])
