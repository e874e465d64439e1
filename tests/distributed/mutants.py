"""Mistakes that others have made, made here on purpose: a table of strategies that bears them checks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from echelon.data.loader import Loader, Position
from echelon.sync import buffers, diloco, protocol
from echelon.train import loop


def mutated(name: str) -> AbstractContextManager[Any]:
    """Breaks the product in this process for the length of the block."""
    return _MUTANTS[name]()


def _weights_removed() -> AbstractContextManager[Any]:
    """Every rank counts the same, whatever it consumed."""
    finish = buffers.Exchange.finish

    def equal(self: buffers.Exchange) -> protocol.Tally:
        return replace(finish(self), weight=self._comm.world.size * self._tally.weight)

    return patch.object(buffers.Exchange, "finish", equal)


def _tail_dropped() -> AbstractContextManager[Any]:
    """The last step of an epoch, which has fewer rows, is left out."""
    batches = Loader.batches

    def without(loader: Loader, start: Position, epochs: int) -> Iterator[Any]:
        for position, batch in batches(loader, start, epochs):
            yield position, None if position.step == loader.steps - 1 else batch

    return patch.object(Loader, "batches", without)


def _replayed() -> AbstractContextManager[Any]:
    """Training goes on with the model and the optimizer, but the strategy begins anew."""
    begin = loop.Loop.__init__

    def forgetful(self: loop.Loop, parts: Any, comm: Any, progress: Any, kept: Any = None) -> None:
        begin(self, parts, comm, progress)

    return patch.object(loop.Loop, "__init__", forgetful)


def _evaluated_for_good() -> AbstractContextManager[Any]:
    """Training goes on with what was evaluated."""

    @contextmanager
    def agreed(replica: diloco.DiLoCoReplica) -> Iterator[None]:
        replica._flat.write(replica._theta)
        yield

    return patch.object(diloco.DiLoCoReplica, "agreed", agreed)


def _local_evaluated() -> AbstractContextManager[Any]:
    """Each rank evaluates and stores its own parameters."""
    return patch.object(diloco.DiLoCoReplica, "agreed", lambda replica: nullcontext())


def _late_result_early() -> AbstractContextManager[Any]:
    """A checkpoint applies the result that it waited for at once."""
    state = diloco.DiLoCoReplica.state

    def eager(replica: diloco.DiLoCoReplica) -> protocol.ReplicaState:
        if replica._flight is not None:
            replica._outer_step(replica._flight.result())
            replica._flight = None
        return state(replica)

    return patch.object(diloco.DiLoCoReplica, "state", eager)


_MUTANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "weights removed": _weights_removed,
    "tail dropped": _tail_dropped,
    "restored by replay": _replayed,
    "evaluated for good": _evaluated_for_good,
    "local parameters evaluated": _local_evaluated,
    "late result early": _late_result_early,
}

NAMES: Sequence[str] = tuple(_MUTANTS)
