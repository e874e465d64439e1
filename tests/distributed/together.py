"""Some processes that exchange tensors, and what each of them came to."""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from gang import HANG_SECONDS, processes
from rank import names_of_threads

from echelon.comm import Comm
from echelon.errors import CommunicationError
from echelon.group import connect
from echelon.world import World


def together(size: int, folder: Path, work: Callable[[Comm], object], present: int | None = None) -> list:
    """What `work` gives on each rank, as JSON; of the first `present` ranks if not all come."""
    arguments = [(World(rank, size), folder, work) for rank in range(size if present is None else present)]
    ranks = [processes.Process(target=_rank, args=a) for a in arguments]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(HANG_SECONDS)
    stuck = [rank for rank, process in enumerate(ranks) if process.is_alive()]
    for rank in stuck:
        ranks[rank].kill()
    assert not stuck, f"ranks {stuck} hang; they said: {[(folder / f'{rank}.txt').read_text() for rank in stuck]}"
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(len(ranks))]


def _rank(world: World, folder: Path, work: Callable[[Comm], object]) -> None:
    sys.stderr = open(folder / f"{world.rank}.txt", "w")  # noqa: SIM115 (until the process ends)
    faulthandler.dump_traceback_later(0.9 * HANG_SECONDS, file=sys.stderr)
    torch.set_num_threads(1)
    torch.manual_seed(world.rank)
    try:
        store = dist.FileStore(str(folder / "store"), world.size)
        with connect(world, store, interface="lo", seconds=3) as comm:
            result = work(comm)
        assert not [name for name in names_of_threads() if "gloo" in name]
    except CommunicationError as error:
        result = str(error)
    (folder / f"{world.rank}.json").write_text(json.dumps(result))
    gc.collect()  # the end of what an error kept alive
