"""Trying again, on the driver, what failed through no fault of the user."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from echelon.errors import CommunicationError, StorageError, TrainingFailed

FRUITLESS_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
_log = logging.getLogger(__name__)

Result = TypeVar("Result")


def retried(
    attempt: Callable[[], Result],
    reached: Callable[[], object],
    on_recovery: Callable[[str, int], None],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Calls `attempt` until it returns, or until three attempts in a row have brought nothing forward.

    Args:
        reached: how far the work has come. An attempt that leaves another value behind was not in vain.
        on_recovery: called with the cause and the number of failures so far, before each further attempt.
        pause: waits for some seconds.

    Raises:
        TrainingFailed: the last of three attempts in vain failed by communication or storage; carries its cause.
        BaseException: whatever else an attempt raises is raised at once: it would happen again.
    """
    failures = fruitless = 0
    before = _reached(reached, None)
    while True:
        try:
            return attempt()
        except (CommunicationError, StorageError) as error:
            failures += 1
            now = _reached(reached, before)
            fruitless = fruitless + 1 if now == before else 0
            before = now
            if fruitless == FRUITLESS_ATTEMPTS:
                raise TrainingFailed(
                    f"given up after {fruitless} attempts in a row without a new checkpoint. The last failed with: "
                    f"{error}"
                ) from error
            _tell(on_recovery, str(error), failures)
        pause(min(FIRST_PAUSE_SECONDS * 2**fruitless, LONGEST_PAUSE_SECONDS))


def _reached(reached: Callable[[], object], otherwise: object) -> object:
    """How far the work has come; `otherwise` while the storage that knows it is out of reach."""
    try:
        return reached()
    except StorageError as error:
        _log.warning("cannot see how far the run has come: %s", error)
        return otherwise


def _tell(on_recovery: Callable[[str, int], None], cause: str, number: int) -> None:
    try:
        on_recovery(cause, number)
    except Exception as error:
        # What could not be told must not keep the work from going on.
        _log.warning("a recovery could not be told: %s", error)
