"""Runs that failed before their first step, whose folder another try may have."""

from __future__ import annotations

from contextlib import suppress

from echelon.train.heartbeat import HEARTBEAT
from echelon.train.results import FAILED
from echelon.train.run import CHECKPOINTS, CONFIG, EVENTS, LOG, REPORT, RESULTS, RunFolder


def is_unbegun(folder: RunFolder) -> bool:
    """Whether the run in a folder failed before it told of a step or made a checkpoint: nothing is lost with it."""
    if folder.results.get("state") != FAILED or folder.storage.list(CHECKPOINTS):
        return False
    return not any(event["step"] for event in folder.events())


def clear_unbegun(folder: RunFolder) -> str:
    """Makes room for another run; returns why the old one failed.

    What numbers the starts of a training stays: a process of the old run that is still alive must know that it is old.
    """
    why = str(folder.results.get("error", ""))
    # First what makes the folder a run's.
    for name in (CONFIG, RESULTS, LOG, REPORT, HEARTBEAT):
        with suppress(FileNotFoundError):
            folder.storage.delete(name)
    folder.storage.delete_tree(EVENTS)
    return why
