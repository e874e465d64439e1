"""Trains as one of the processes that torchrun started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import torch.distributed as dist

from echelon.comm import is_communication_failure
from echelon.errors import CommunicationError, EchelonError
from echelon.interfaces import interface_towards
from echelon.train.failure import Failure, describe, root_cause, to_error
from echelon.train.progress import Progress
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job, train_worker
from echelon.world import World, torchrun_world

MEETING_SECONDS = 60.0
BEGIN_SECONDS = 3600.0
"""How long the other ranks wait while rank 0 begins the run: it may look through very many Parquet files."""
BEGIN_PAUSE = 0.05
CAUSE_SECONDS = 1.0
"""How long a rank that lost another waits for word of why."""
CAUSE_PAUSE = 0.02
_ATTEMPT = "attempt"


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun (or what sets the same variables) started this process."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(environment)


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun started this process again, after a failure: the run goes on."""
    return started_by_torchrun(environment) and int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def meeting_store(environment: Mapping[str, str] = os.environ) -> dist.Store:
    """The store that torchrun's processes meet in, with the keys of this start apart from those of earlier ones.

    Raises:
        CommunicationError: it cannot be reached in a minute.
    """
    world = torchrun_world(environment)
    address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    agents = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = dist.TCPStore(
            address,
            port,
            is_master=world.is_first and not agents,
            timeout=timedelta(seconds=MEETING_SECONDS),
            wait_for_workers=False,
        )
    except (dist.DistError, RuntimeError) as error:
        raise CommunicationError(f"{world} does not reach the store at {address}:{port}: {error}") from error
    return dist.PrefixStore(f"echelon/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def train_as_rank(job: Job, create: Callable[[], None], on_event: Callable[[Event], None]) -> tuple[Progress, World]:
    """Trains as this process's rank, from the newest checkpoint of the run if there is one.

    Args:
        create: makes the run's folder, if there is none yet; called by rank 0 alone.

    Raises:
        EchelonError: the root cause, if another rank reports it; else what failed here.
    """
    world, store = torchrun_world(), meeting_store()
    world = replace(
        world, attempt=begin_attempt(job, create, store, world) if world.is_first else attempt_begun(store, world)
    )
    try:
        return train_worker(world, dist.PrefixStore("work", store), job, on_event, _interface()), world
    except Exception as error:
        _report(error, store, world)
        if is_communication_failure(error):
            raise _cause(error, store, world) from error
        raise


def _interface(environment: Mapping[str, str] = os.environ) -> str | None:
    """The network interface for collectives: the one that leads to the first host, unless the user has chosen."""
    chosen = "GLOO_SOCKET_IFNAME" in environment or "NCCL_SOCKET_IFNAME" in environment
    return None if chosen else interface_towards(environment["MASTER_ADDR"])


def begin_attempt(job: Job, create: Callable[[], None], store: dist.Store, world: World) -> int:
    """As rank 0: makes the run's folder, and tells the others the number of the attempt, or why there is none."""
    try:
        create()
        attempt = RunFolder(job.run).start_attempt()
    except Exception as error:
        _report(error, store, world)
        raise
    store.set(_ATTEMPT, str(attempt))
    return attempt


def attempt_begun(store: dist.Store, world: World, seconds: float = BEGIN_SECONDS) -> int:
    """As another rank: the number of the attempt, when rank 0 has begun it.

    Raises:
        EchelonError: rank 0 could not begin, or did not within the time; CommunicationError if its store is gone.
    """
    end = time.monotonic() + seconds
    try:
        # Asked for again and again, since a wait in the store hears no signal.
        while not store.check([_ATTEMPT]):
            if store.check([_failure_of(0)]):
                raise to_error(Failure.from_json(store.get(_failure_of(0))))
            if time.monotonic() > end:
                raise EchelonError(f"{world}: rank 0 did not begin the run within {seconds:.0f} s")
            time.sleep(BEGIN_PAUSE)
        return int(store.get(_ATTEMPT))
    except (dist.DistError, RuntimeError) as error:
        raise CommunicationError(f"{world}: rank 0 is gone before it had begun the run: {error}") from error


def _report(error: Exception, store: dist.Store, world: World) -> None:
    """Tells the other ranks why this one fails, before its process ends."""
    with suppress(RuntimeError):  # the process that has the store may be gone
        order = store.add("failures", 1)
        store.set(_failure_of(world.rank), describe(error, world.rank, world.host, order).to_json())


def _cause(error: Exception, store: dist.Store, world: World) -> Exception:
    """What another rank reports that is no echo; the error itself, if none does within CAUSE_SECONDS."""
    end = time.monotonic() + CAUSE_SECONDS
    with suppress(RuntimeError):
        while time.monotonic() < end:
            keys = [key for rank in range(world.size) if store.check([key := _failure_of(rank)])]
            cause = root_cause([Failure.from_json(store.get(key)) for key in keys])
            if cause is not None and cause.kind != "communication":
                return to_error(cause)
            time.sleep(CAUSE_PAUSE)
    return error


def _failure_of(rank: int) -> str:
    return f"failure/{rank}"
