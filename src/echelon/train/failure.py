"""Why workers failed: what each rank reported, which of it is the root cause, and the error that is raised for it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from echelon.comm import is_communication_failure
from echelon.errors import CommunicationError, EchelonError, StorageError, TrainingFailed


class WorkerFailed(TrainingFailed):
    """A worker's own code failed.

    rank, host: where; None where Spark does not say. traceback: the worker's, as text.
    """

    def __init__(self, message: str, *, rank: int | None, host: str | None, traceback: str) -> None:
        super().__init__(message)
        self.rank = rank
        self.host = host
        self.traceback = traceback


@dataclass(frozen=True)
class Failure:
    """How one rank died, as it says itself.

    kind: "user", "communication" or "storage". known: whether it is an error of Echelon, whose message says enough.
    order: counts the failures of an attempt as they were reported.
    """

    rank: int
    host: str
    kind: str
    type: str
    message: str
    traceback: str
    known: bool
    order: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | bytes) -> Failure:
        return Failure(**json.loads(text))


def describe(error: BaseException, rank: int, host: str, order: int) -> Failure:
    """A failure to report."""
    if is_communication_failure(error):
        kind = "communication"
    elif isinstance(error, StorageError):
        kind = "storage"
    else:
        kind = "user"
    text = "".join(traceback.format_exception(error))
    return Failure(rank, host, kind, type(error).__name__, str(error), text, isinstance(error, EchelonError), order)


def root_cause(failures: Sequence[Failure]) -> Failure | None:
    """The first failure that is not the echo of another rank's death; without one, the first."""
    ordered = sorted(failures, key=lambda failure: (failure.kind == "communication", failure.order))
    return ordered[0] if ordered else None


def to_error(failure: Failure, *, lost: Sequence[str] = (), unit: str = "rank") -> EchelonError:
    """What the driver raises for a root cause.

    lost: the members that died without a word. unit: what `failure.rank` counts.
    """
    where = f"{unit} {failure.rank} on {failure.host}"
    if failure.kind == "communication":
        gone = f"{', '.join(lost)} died without a word; " if lost else ""
        return CommunicationError(f"{gone}{where} reports: {failure.message}")
    if failure.kind == "storage":
        return StorageError(f"{where}: {failure.message}")
    detail = failure.message if failure.known else f"{failure.type}: {failure.message}\n\n{failure.traceback}"
    return WorkerFailed(f"{where} failed: {detail}", rank=failure.rank, host=failure.host, traceback=failure.traceback)
