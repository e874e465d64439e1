"""One rank of a training in a process of its own, and what tests do to it."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import learners
import numpy as np
import torch
import torch.distributed as dist

from echelon.data.storage import Storage
from echelon.group import ENDING
from echelon.train import loop, worker
from echelon.train.worker import Job
from echelon.world import World

BACKWARD, COLLECTIVE, CHECKPOINT, COMMIT, EVALUATION = "backward", "collective", "checkpoint", "commit", "evaluation"

HANG_SECONDS, ENDING_SECONDS = 54.0, 5.0
"""A rank that still runs then prints where all of its threads are, before those who wait for it give up."""


@dataclass(frozen=True)
class Kill:
    """kill -9 of one rank, in the first step from `step` on that comes to a place.

    after: step of a checkpoint that is committed first, so that what must be redone is no question of the disk's speed.
    stop: the process is stopped instead, as one that hangs.
    """

    rank: int
    where: str
    step: int
    after: int = 0
    stop: bool = False


@dataclass(frozen=True)
class Order:
    """What one process shall do. folder: for what it leaves, and for the store that the ranks meet in."""

    world: World
    job: Job
    folder: Path
    kill: Kill | None = None


def seed_of(rank: int) -> int:
    """The seed of a process before it begins: ranks begin differently."""
    return 1000 + rank


def seed_process(rank: int) -> None:
    """Ranks begin with different random numbers, so what they have in common comes from the training."""
    torch.set_num_threads(1)
    torch.manual_seed(seed_of(rank))
    np.random.seed(seed_of(rank))


def main(order: Order) -> None:
    """Trains, and leaves outcome-<rank>.json; each step's rows are in rows-<rank>.jsonl when the step ends."""
    rank = order.world.rank
    for path in (1, 2):
        os.dup2(os.open(order.folder / f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), path)
    faulthandler.dump_traceback_later(HANG_SECONDS)
    seed_process(rank)
    Watched(order).install()
    store = dist.FileStore(str(order.folder / "store"), order.world.size) if order.world.size > 1 else None
    start = time.monotonic()
    try:
        outcome = {"progress": worker.train_worker(order.world, store, order.job, interface="lo").to_json()}
        outcome["threads"] = names_of_threads()
    except Exception as error:
        traceback.print_exc()
        outcome = {"error": type(error).__name__, "message": str(error)}
    outcome["seconds"] = time.monotonic() - start
    (order.folder / f"outcome-{rank}.json").write_text(json.dumps(outcome))
    sys.stdout.flush()
    os._exit("error" in outcome)  # as a worker under Spark or torchrun: nothing waits for what a dead peer left behind


def names_of_threads() -> list[str]:
    """The names of this process's threads, without those that end while they are being read.

    At the end of the interpreter: it waits for those that end a process group.
    """
    for thread in threading.enumerate():
        if thread.name == ENDING:
            thread.join(ENDING_SECONDS)
    names = []
    for comm in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append(comm.read_text().strip())
    return names


class Watched:
    """Notes the rows of each step, and kills this process where the order says so."""

    def __init__(self, order: Order) -> None:
        self._order, self._step = order, 0
        self._rows = open(order.folder / f"rows-{order.world.rank}.jsonl", "a")  # noqa: SIM115 (open until the end)

    def install(self) -> None:
        gradient_of = loop.add_gradients

        def add_gradients(*args: Any) -> Any:
            _, _, _, _, epoch, (_, step, _), *_ = args
            self._step = step
            learners.consumed.clear()
            result = gradient_of(*args)
            line = {"step": step, "epoch": epoch, "attempt": self._order.world.attempt, "rows": learners.consumed}
            self._rows.write(json.dumps(line) + "\n")
            self._rows.flush()
            return result

        loop.add_gradients = add_gradients
        self._before(torch.Tensor, "backward", BACKWARD)
        self._before(dist, "all_reduce", COLLECTIVE)
        self._before(loop, "evaluate", EVALUATION)
        self._before(Storage, "write", CHECKPOINT, lambda _, path, *rest: path.startswith("replica") or "model" in path)
        self._before(Storage, "write_json", COMMIT, lambda _, path, *rest: path == "COMMIT.json")

    def _before(self, owner: Any, name: str, where: str, when: Callable[..., bool] = lambda *args: True) -> None:
        kill, original = self._order.kill, getattr(owner, name)
        if kill is None or kill.where != where or kill.rank != self._order.world.rank:
            return

        def replaced(*args: Any, **kwargs: Any) -> Any:
            if self._step >= kill.step and when(*args):
                while kill.after and not list(
                    Path(self._order.job.run).glob(f"checkpoints/*-{kill.after}/COMMIT.json")
                ):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGSTOP if kill.stop else signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(owner, name, replaced)
