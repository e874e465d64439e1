"""Recovery as arithmetic of attempts; the real thing is in test_training.py."""

from __future__ import annotations

import pytest

from echelon.errors import CommunicationError, StorageError, TrainingFailed
from echelon.spark.failure import WorkerFailed
from echelon.spark.recover import LONGEST_PAUSE_SECONDS, retried


class Work:
    """Attempts that fail as told: each of `outcomes` is (error or None, checkpoint that it leaves behind)."""

    def __init__(self, *outcomes: tuple[Exception | None, int]) -> None:
        self.outcomes = list(outcomes)
        self.checkpoint = 0
        self.recoveries: list[tuple[str, int]] = []
        self.pauses: list[float] = []

    def attempt(self) -> str:
        error, self.checkpoint = self.outcomes.pop(0)
        if error is not None:
            raise error
        return "done"

    def run(self) -> str:
        return retried(
            self.attempt,
            lambda: self.checkpoint,
            lambda cause, number: self.recoveries.append((cause, number)),
            pause=self.pauses.append,
        )


def test_lost_processes_and_storage_are_tried_again() -> None:
    work = Work((CommunicationError("rank 1 died"), 0), (StorageError("disk full"), 0), (None, 5))
    assert work.run() == "done"
    assert work.recoveries == [("rank 1 died", 1), ("disk full", 2)]


def test_three_attempts_in_a_row_without_a_new_checkpoint_are_enough() -> None:
    lost = (CommunicationError("rank 1 died"), 7)
    work = Work(lost, lost, lost, lost, lost)
    with pytest.raises(TrainingFailed, match=r"3 attempts.*rank 1 died"):
        work.run()
    # The first of them came to checkpoint 7, and so does not count.
    assert len(work.outcomes) == 1
    assert [number for _, number in work.recoveries] == [1, 2, 3]


def test_progress_allows_any_number_of_attempts() -> None:
    work = Work(*[(CommunicationError("again"), step) for step in range(1, 21)], (None, 21))
    assert work.run() == "done"
    assert len(work.recoveries) == 20


def test_pauses_grow_while_nothing_comes_forward_and_shrink_after_progress() -> None:
    lost = CommunicationError("lost")
    work = Work((lost, 0), (lost, 0), (lost, 1), (None, 1))
    work.run()
    assert work.pauses[0] < work.pauses[1] <= LONGEST_PAUSE_SECONDS
    assert work.pauses[2] < work.pauses[0]


@pytest.mark.parametrize("error", [ValueError("wrong shape"), WorkerFailed("x", rank=0, host="h", traceback="")])
def test_the_users_own_error_is_never_tried_again(error: Exception) -> None:
    work = Work((error, 0), (None, 1))
    with pytest.raises(type(error)):
        work.run()
    assert work.recoveries == []


def test_a_storage_out_of_reach_between_attempts_does_not_end_the_run() -> None:
    outcomes = [StorageError("away"), CommunicationError("lost"), None]

    def attempt() -> str:
        if (error := outcomes.pop(0)) is not None:
            raise error
        return "done"

    def unreachable(*_: object) -> None:
        raise StorageError("away")

    assert retried(attempt, unreachable, unreachable, pause=lambda seconds: None) == "done"
