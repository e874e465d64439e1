"""Many short trainings, one after another, in one set of processes: what a table of strategies takes."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import learners
import torch.distributed as dist
from gang import processes
from mutants import mutated
from rank import seed_process
from torch import Tensor

from echelon.data.manifest import Dataset
from echelon.sync import Strategy
from echelon.train import worker
from echelon.train.checkpoint import newest
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.loop import Loop
from echelon.train.run import RunFolder
from echelon.train.worker import Job
from echelon.world import World

HANG_SECONDS = 170.0


@dataclass(frozen=True)
class Short:
    """A training of a series. name: of its folder. kills: global steps after which all processes are as killed, once
    the checkpoint of that step is written. mutant: what is broken on purpose (`mutants.mutated`), or "".
    """

    name: str
    learner: Learner
    strategy: Strategy
    config: RunConfig
    weights: tuple[float, ...] | None = None
    kills: tuple[int, ...] = ()
    mutant: str = ""


@dataclass(frozen=True)
class Ended:
    """How a training ended. tensors: of its newest checkpoint. digests: by rank, of what each had at each boundary, in
    the block of agreed(). bytes_sent: of all ranks. errors: by rank, "" for none.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    digests: tuple[tuple[tuple[int, str], ...], ...] = ()
    bytes_sent: float = 0.0
    errors: tuple[str, ...] = ()


class Killed(Exception):
    """Stands for the end of a process."""


def series(folder: Path, dataset: Dataset, workers: int, shorts: Sequence[Short]) -> dict[str, Ended]:
    """Runs all trainings on so many workers; how each ended, by its name."""
    assert len({short.name for short in shorts}) == len(shorts)
    folder.mkdir(parents=True)
    ranks = [processes.Process(target=_main, args=(r, workers, folder, dataset.url, shorts)) for r in range(workers)]
    for process in ranks:
        process.start()
    end = time.monotonic() + HANG_SECONDS
    for process in ranks:
        process.join(max(end - time.monotonic(), 0))
    hanging = [process for process in ranks if process.is_alive()]
    for process in hanging:
        process.kill()
        process.join()
    assert not hanging, (folder / "output-0.txt").read_text()[-3000:]
    left = [json.loads((folder / f"left-{rank}.json").read_text()) for rank in range(workers)]
    return {short.name: _ended(folder / short.name, [one[short.name] for one in left]) for short in shorts}


def _ended(folder: Path, left: list[dict[str, Any]]) -> Ended:
    found = newest(RunFolder(str(folder)))
    digests = tuple(tuple((step, digest) for step, digest in one["digests"]) for one in left)
    return Ended(found.model() if found else {}, digests, left[0]["bytes"], tuple(one["error"] for one in left))


def _main(rank: int, workers: int, folder: Path, dataset: str, shorts: Sequence[Short]) -> None:
    for path in (1, 2):
        os.dup2(os.open(folder / f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), path)
    left = {}
    for short in shorts:
        with mutated(short.mutant) if short.mutant else nullcontext():
            left[short.name] = _train(short, World(rank, workers, rank, workers), folder / short.name, dataset)
    (folder / f"left-{rank}.json").write_text(json.dumps(left))
    os._exit(0)


def _train(short: Short, world: World, folder: Path, dataset: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    left: dict[str, Any] = {"digests": [], "error": "", "bytes": 0.0}
    job = Job(str(folder), dataset, short.learner, short.strategy, short.config.resolved(world.size), short.weights)
    for attempt, kill in enumerate([*short.kills, 0], 1):
        seed_process(world.rank)
        learners.consumed.clear()
        if world.is_first:
            RunFolder(str(folder)).start_attempt()
        store = dist.FileStore(str(folder / f"store-{attempt}"), world.size) if world.size > 1 else None
        try:
            with _watched(left["digests"], kill):
                progress = worker.train_worker(replace(world, attempt=attempt), store, job, interface="lo")
            left["bytes"] = progress.bytes_sent
        except Killed:
            continue
        except Exception as error:
            traceback.print_exc()
            left["error"] = f"{type(error).__name__}: {error}"
            break
    return left


@contextmanager
def _watched(digests: list[tuple[int, str]], kill: int) -> Iterator[None]:
    """Notes what the model is at each boundary, and raises after one."""
    boundary = Loop._boundary

    def noted(loop: Loop, step: int, total: Any) -> str:
        with loop._replica.agreed():
            state = loop.parts.model.state_dict()
            tensors = b"".join(tensor.numpy().tobytes() for tensor in state.values())
        digests.append((step, hashlib.sha256(tensors).hexdigest()))
        reason = boundary(loop, step, total)
        loop._writer.wait()  # else the next checkpoint would be left out, and with it what a kill goes on from
        if step == kill:
            loop.comm.meet()
            raise Killed
        return reason

    with patch.object(Loop, "_boundary", noted):
        yield
