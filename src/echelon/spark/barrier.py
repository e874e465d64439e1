"""A gang: one function run by n workers at the same time, as one barrier stage of Spark.

The driver keeps a store in which the ranks meet, report why they die, beat and tell. It watches the gang from its own
thread, so that nothing can hang for ever: a start that is not complete, and ranks that fall silent, cancel the job.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pickle import PickleError
from typing import TYPE_CHECKING, Any

from echelon.errors import CommunicationError, EchelonError
from echelon.spark.background import BackgroundJob
from echelon.spark.failure import from_spark, root_cause, to_error
from echelon.spark.member import Answer, Invitation, Work, serve
from echelon.spark.packed import pack, settle
from echelon.spark.probe import Probe, laid
from echelon.spark.pulse import Watch
from echelon.spark.rendezvous import Rendezvous
from echelon.spark.session import is_local, require_fixed_executors
from echelon.spark.slots import SETTLE_SECONDS, START_SECONDS, require_slots

if TYPE_CHECKING:
    from pyspark import RDD
    from pyspark.sql import SparkSession

OnEvent = Callable[[dict[str, Any]], None]
_POLL_SECONDS = 0.2
_LAST_WORDS_SECONDS = 1.0
# A native function that keeps Python's lock to itself stops the pulse too, so silence alone must last for long.
# A host that is cut off is noticed earlier: by the heartbeats of its executor.
_SILENCE_SECONDS = 60.0
# Spark tells at once of a process that is killed: who had been silent for so long by then went with its host.
_LOST_HOST_SECONDS = 10.0


class HostLost(CommunicationError):
    """A host was cut off, or went with its network: no other process will come from there soon."""


def run_gang(
    session: SparkSession,
    fn: Work,
    workers: int,
    *,
    run_id: str,
    attempt: int,
    cpus_per_worker: int = 1,
    start_seconds: float = START_SECONDS,
    settle_seconds: float = SETTLE_SECONDS,
    silence_seconds: float = _SILENCE_SECONDS,
    on_event: OnEvent | None = None,
    probe: Probe | None = None,
    imports: tuple[str, ...] = (),
) -> list[bytes]:
    """Runs fn(member) in `workers` processes at once and returns their results in rank order.

    Args:
        fn: anything that cloudpickle can send. It makes and destroys its own process group.
        run_id, attempt: keep the store of this launch apart from every other.
        cpus_per_worker: threads of torch in each worker.
        start_seconds: how long all ranks may take to come, and then to pass the probe.
        settle_seconds: for how long the slots of executors must stay too few for so many workers before that is final.
        silence_seconds: how long nothing may be heard of a rank before it is given up.
        on_event: called in this thread with each event that a worker tells (and its "rank"). What it raises is logged.
        imports: modules that a worker loads before the others wait for it, beside those that the function needs.

    Raises:
        TooFewSlots, EchelonError: refused before the start.
        WorkerFailed: the function raised, or a host does not see a path of the probe; the error of the rank where it
            began. Not worth another try.
        CommunicationError, StorageError: processes, hosts, the network or the storage failed. Worth another try.
        HostLost is the one of them after which no executor is worth waiting for.
    """
    require_fixed_executors(session)
    meeting = Rendezvous(*driver_address(session), run_id, attempt)
    with laid(probe) as token:
        invitation = Invitation(meeting.address, workers, cpus_per_worker, start_seconds, token)
        # Planned while an executor that died may be coming back.
        plan = _plan(session, invitation, fn, imports)
        require_slots(session, workers, settle_seconds=settle_seconds, wait_seconds=start_seconds)
        group = f"echelon-{run_id}-{attempt}-{meeting.address.port}"
        job = BackgroundJob(session, lambda: plan, group, "Echelon: workers that train together")
        watch = Watch(meeting.store, workers, on_event)
        try:
            _follow(job, watch, start_seconds, silence_seconds)
        finally:
            job.cancel()
            watch.poll()
    return _outcome(job, watch)


def _plan(session: SparkSession, invitation: Invitation, fn: Work, imports: tuple[str, ...]) -> RDD[Answer]:
    """A stage of an RDD: a new executor begins it seconds earlier than one of a DataFrame, for which it would load and
    compile code of Spark SQL.
    """
    try:
        packed = pack((serve, invitation, fn), imports)
    except (TypeError, AttributeError, PickleError) as error:
        raise EchelonError(f"the function of the workers cannot be sent to them: {error}") from error

    def task(_: Iterable[int]) -> Iterator[Answer]:
        begin, invited, work = packed.unpacked()
        settle()
        yield begin(invited, work)

    ranks = session.sparkContext.parallelize(range(invitation.size), invitation.size)
    return ranks.barrier().mapPartitions(task)


def _follow(job: BackgroundJob, watch: Watch, start_seconds: float, silence_seconds: float) -> None:
    """Returns when the job is over, which it is soon after the death of a rank; raises when a deadline passes."""
    began = complete = time.monotonic()
    while not job.wait(_POLL_SECONDS):
        watch.poll()
        now = time.monotonic()
        if missing := watch.missing():
            complete = now
            if now - began > start_seconds:
                here = ", ".join(map(str, watch.present.values())) or "none"
                raise CommunicationError(
                    f"ranks {missing} of {watch.size} did not start within {start_seconds:.0f} s; present: {here}"
                )
        elif len(watch.ready) < watch.size and now - complete > start_seconds:
            slow = ", ".join(str(watch.present[r]) for r in range(watch.size) if r not in watch.ready)
            raise CommunicationError(f"{slow} did not finish looking at the storage within {start_seconds:.0f} s")
        if silent := watch.silent(silence_seconds):
            names = ", ".join(map(str, silent))
            raise CommunicationError(f"nothing was heard of {names} for {silence_seconds:.0f} s: given up")
    watch.poll()


def _outcome(job: BackgroundJob, watch: Watch) -> list[bytes]:
    if job.error is None:
        return [result for _, result in sorted(job.rows)]
    _hear_last_words(watch)
    if isinstance(job.error, (KeyboardInterrupt, SystemExit)):
        raise job.error
    cause = root_cause(list(watch.failures.values()))
    error = to_error(cause, lost=watch.wordless()) if cause else from_spark(job.error, lost=watch.wordless())
    if isinstance(error, CommunicationError) and (silent := watch.silent(_LOST_HOST_SECONDS)):
        names = ", ".join(map(str, silent))
        raise HostLost(f"nothing was heard of {names} for {_LOST_HOST_SECONDS:.0f} s; {error}") from None
    raise error from None


def _hear_last_words(watch: Watch) -> None:
    """A survivor's complaint can arrive before the report of the rank at fault: give that a moment."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while True:
        watch.poll()
        told = watch.failures.values()
        if any(failure.kind != "communication" for failure in told) or not watch.wordless():
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def driver_address(session: SparkSession) -> tuple[str, str]:
    """(address to listen on, name to give to the workers) of the driver's one interface."""
    if is_local(str(session.conf.get("spark.master"))):
        return "127.0.0.1", "127.0.0.1"
    host = session.conf.get("spark.driver.host", None) or socket.gethostname()
    bind = session.conf.get("spark.driver.bindAddress", None) or host
    if bind in ("0.0.0.0", "::"):
        bind = host
    try:
        return socket.gethostbyname(bind), socket.gethostbyname(host)
    except OSError as error:
        raise EchelonError(
            f"the driver's own name '{host}' has no address: {error}. Set spark.driver.host to its IP address"
        ) from error
