"""The process group of a world, from the meeting of its ranks to its end.

Whoever lets go of a group last ends gloo's threads and waits for them. Python does so without its lock. DDP's part in
C++ keeps the lock, which the threads may need to let go of tensors: then both wait for ever. And where nobody does,
since a group lies in a cycle of references, threads that outlive the interpreter may abort the process. So `connect`
is the last.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread

import torch.distributed as dist

# Its functions have the group of the moment of their import as a default, and would keep it for ever.
import torch.distributed.nn.functional  # noqa: F401
from torch.distributed.distributed_c10d import _abort_process_group

from echelon.backend import agree, prepare_nccl
from echelon.comm import Comm
from echelon.world import World

ENDING = "the end of a process group"
"""Name of the thread that waits for gloo's threads."""

_abandoned: list[object] = []
"""Groups of trainings that failed while a collective was under way, for which the end of a group would wait."""


@contextmanager
def connect(world: World, store: dist.Store | None, *, interface: str | None, seconds: float) -> Iterator[Comm]:
    """The collectives of this process, from the meeting of all ranks in the store until the end of the block.

    Args:
        store: where the ranks meet; None for a world of one.
        interface: the network interface that gloo and NCCL must use; None lets them choose.
        seconds: deadline of the meeting.

    Raises:
        CommunicationError: not all ranks came in time.
    """
    if world.size == 1:
        yield Comm(world)
        return
    if store is None:
        raise ValueError(f"a world of {world.size} processes needs a store to meet in")
    comm = Comm(world, agree(world, store, seconds), seconds)
    if interface:
        os.environ["GLOO_SOCKET_IFNAME"] = interface
    if comm.backend.has_nccl:
        prepare_nccl(interface)
    with comm.naming("the meeting of all ranks"):
        dist.init_process_group(
            comm.backend.name, store=store, rank=world.rank, world_size=world.size, timeout=timedelta(seconds=seconds)
        )
    group, failed = [dist.group.WORLD], True
    try:
        yield comm
        failed = False
    except BaseException:
        if comm.in_flight:
            _abandoned.extend(group)
        if comm.backend.has_nccl:
            _abort_process_group()
        raise
    finally:
        for let_go in comm.holders:
            let_go()
        comm.holders.clear()
        if dist.is_initialized():
            dist.destroy_process_group()
        alone = [object()]
        if sys.getrefcount(group[0]) > sys.getrefcount(alone[0]):
            # It lies in a cycle, as DDP of a user's own strategy may.
            gc.collect()
        if failed or comm.backend.has_nccl:
            group.clear()
        else:
            # gloo's thread sees only every 10 ms that it shall end. The interpreter's own end waits for this one.
            try:
                Thread(target=group.clear, name=ENDING).start()
            except RuntimeError:  # no thread is left to be had
                group.clear()
