"""One evaluation: parts of a split for whoever asks, each counted once, of parameters that stay as they were."""

from __future__ import annotations

from echelon.server.leases import Leases, Outcome, Reached
from echelon.server.orders import Evaluate
from echelon.server.state import Tensors
from echelon.train.evaluate import span_of


class Evaluation:
    """The parts of one evaluation. They are leased as steps are: part p is the only step of a stream p.

    number: tells it from other evaluations. step: of the parameters, which are `tensors`.
    """

    def __init__(self, number: int, step: int, tensors: Tensors, split: str, rows: int, parts: int) -> None:
        self.number, self.step = number, step
        self.tensors, self._split = tensors, split
        parts = max(min(parts, rows), 1)
        self._spans = [span_of(rows, part, parts) for part in range(parts)]
        self._leases = Leases(1, 1, 1, [Reached()] * parts)
        self._states: dict[int, bytes] = {}

    @property
    def states(self) -> list[bytes] | None:
        """The metric states of all parts in order; None while some are missing."""
        return [self._states[part] for part in range(len(self._spans))] if self._leases.done else None

    def grant(self, worker: int, now: float, seconds: float) -> Evaluate | None:
        """A part that nobody evaluates now, for so many seconds; None if there is none."""
        lease = self._leases.grant(worker, now, seconds)
        if lease is None:
            return None
        return Evaluate(self.number, lease.token, self._split, *self._spans[lease.stream], self.tensors)

    def give(self, token: int, states: bytes, now: float) -> Outcome:
        """
        Raises:
            EchelonError: no part ever had this token.
        """
        outcome, lease = self._leases.commit(token, now)
        if lease is not None:
            self._states[lease.stream] = states
        return outcome

    def expire(self, now: float) -> None:
        """Takes back the parts whose time is over."""
        self._leases.expire(now)

    def release(self, worker: int) -> None:
        """Takes back what a worker holds."""
        self._leases.release(worker)
