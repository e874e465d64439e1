"""How many workers a session can run at once, asked before anything waits for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from echelon.errors import EchelonError
from echelon.spark.session import is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTLE_SECONDS = 5.0
START_SECONDS = 30.0


class TooFewSlots(EchelonError):
    """A session cannot run so many workers at once. slots: how many it can."""

    def __init__(self, message: str, slots: int) -> None:
        super().__init__(message)
        self.slots = slots


def slots(session: SparkSession) -> int:
    """Tasks that the executors that are there now can run at the same time, GPUs counted."""
    context = session.sparkContext
    java = context._jsc.sc()
    try:
        return int(java.maxNumConcurrentTasks(java.resourceProfileManager().defaultResourceProfile()))
    except Exception:
        # Not in the public interface of Spark: some distributions leave it out.
        return int(context.defaultParallelism) // int(session.conf.get("spark.task.cpus", "1") or 1)


def require_slots(
    session: SparkSession,
    workers: int,
    *,
    settle_seconds: float = SETTLE_SECONDS,
    wait_seconds: float = START_SECONDS,
) -> None:
    """Refuses a gang that does not fit.

    Executors of a cluster come one after another: as long as their slots change (or there is none) they are waited
    for, until nothing changed for `settle_seconds` or `wait_seconds` are over. A local session is answered at once.

    Raises:
        TooFewSlots: with the numbers, and what to do.
    """
    master = str(session.conf.get("spark.master"))
    started = changed = time.monotonic()
    found = slots(session)
    while found < workers and not is_local(master):
        now = time.monotonic()
        if now - started > wait_seconds or (found and now - changed > settle_seconds):
            break
        time.sleep(0.2)
        found, before = slots(session), found
        changed = time.monotonic() if found != before else changed
    if found < workers:
        more = f"start it with --master local[{workers},8]" if is_local(master) else "give it more executors or cores"
        raise TooFewSlots(
            f"{workers} workers need {workers} task slots at once, but the Spark session at {master} has {found}: "
            f"use at most {found} workers, or {more} (spark.task.cpus and GPUs of a task count too)",
            found,
        )
