"""What runs in each Python worker of a gang, around the function that it was asked to run."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from echelon.errors import CommunicationError
from echelon.interfaces import interface_of
from echelon.spark.device import device_of
from echelon.spark.failure import describe
from echelon.spark.probe import Probe, pass_probe
from echelon.spark.pulse import Present, Pulse
from echelon.spark.rendezvous import Address, Member, connect, local_places, own_address
from echelon.world import World

if TYPE_CHECKING:
    from pyspark import BarrierTaskContext

Work = Callable[[Member], bytes]
Answer = tuple[int, bytes]
"""A rank and what its function returned."""


@dataclass(frozen=True)
class Invitation:
    """What a member must know to come: it travels in Spark's closure.

    start_seconds: deadline of each stage of the start: reaching the driver, all ranks' arrival, the probe.
    """

    address: Address
    size: int
    cpus: int
    start_seconds: float
    probe: Probe | None


def serve(invitation: Invitation, work: Work) -> Answer:
    """The body of a barrier task.

    A failure is reported to the driver, then the process ends: the next attempt must not inherit what a failed one
    left behind (threads in a collective, a half-used GPU), and Spark tells the driver of a dead worker at once.
    """
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    rank = context.partitionId()
    store = connect(invitation.address, invitation.start_seconds)
    pulse = Pulse(connect(invitation.address, invitation.start_seconds), rank)
    try:
        result = _work(invitation, work, context, rank, store, pulse)
    except BaseException as error:
        _report(error, store, rank)
        pulse.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    return rank, result


def _work(
    invitation: Invitation, work: Work, context: BarrierTaskContext, rank: int, store: dist.Store, pulse: Pulse
) -> bytes:
    torch.set_num_threads(invitation.cpus)
    task_address = context.getTaskInfos()[rank].address.rpartition(":")[0]
    me = Present(rank, socket.gethostname(), own_address(task_address, invitation.address.host), os.getpid())
    everyone = _meet(invitation, store, me)
    local_rank, local_size = local_places([f"{one.host} {one.address}" for one in everyone])[rank]
    world = World(
        rank,
        invitation.size,
        local_rank,
        local_size,
        device_of(context.resources(), local_rank),
        me.host,
        invitation.address.attempt,
    )
    if invitation.probe is not None:
        pass_probe(invitation.probe, store, rank, [one.host for one in everyone])
    store.set(f"ready/{rank}", "")
    try:
        result = work(Member(world, dist.PrefixStore("work", store), interface_of(me.address), pulse.tell))
        if not isinstance(result, bytes):
            raise TypeError(f"the function of a gang must return bytes, got {type(result).__name__}")
    finally:
        # The process is used again by Spark, and a group that is left would stand in the way of the next.
        if dist.is_initialized():
            dist.destroy_process_group()
    pulse.close()
    store.set(f"done/{rank}", "")
    return result


def _meet(invitation: Invitation, store: dist.Store, me: Present) -> list[Present]:
    """Waits until all ranks have come."""
    store.set(f"present/{me.rank}", me.to_json())
    keys = [f"present/{rank}" for rank in range(invitation.size)]
    try:
        store.wait(keys, timedelta(seconds=invitation.start_seconds))
    except RuntimeError as error:
        missing = [rank for rank, key in enumerate(keys) if not store.check([key])]
        raise CommunicationError(
            f"ranks {missing} of {invitation.size} did not come within {invitation.start_seconds:.0f} s"
        ) from error
    return [Present.from_json(text) for text in store.multi_get(keys)]


def _report(error: BaseException, store: dist.Store, rank: int) -> None:
    try:
        order = store.add("failures", 1)
        store.set(f"failure/{rank}", describe(error, rank, socket.gethostname(), order).to_json())
    except RuntimeError:
        # The driver is gone; there is nobody to tell.
        return
