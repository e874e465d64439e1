"""Dynamic load balancing beside equal shares and beside the perfect split, on workers of unequal speed.

    python benchmarks/balance.py

Workers of speeds 1 : 0.56 and 1 : 1 : 0.56 take AllReduce steps together: with static equal shares; with the perfect
split, which is told the speeds; and with --balance, which must find them. Limits: two workers need at least 25 % less
time with --balance than with equal shares (the perfect split 28 %), and two or three at most 5 % more than with the
perfect split. Steps count once lanes were dealt for the first time; how many that took is told beside it, and what the
whole training took with them.

Every worker is a process of its own. Speeds are made in three ways:

- accelerator: a step waits a time in proportion to its rows, as the CPU does while a GPU computes. What else the
  machine does hardly matters.
- processor: the convolutions of cifar10_quick on one thread; the slow worker rests in proportion to its own computing
  (--fault slow).
- stopped: the same, but another process stops the slow worker with SIGSTOP for a part of every 20 ms. It loses its
  speed without a part in it, and stands still, too, while it communicates.

The latter two need a core for each worker that nobody else uses.

The sides take turns; medians of steps and over the rounds count. About seven minutes for each way on four cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.distributed as dist
from measured import Outcome, in_turn, told
from torch import nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.learner import ImagesLearner
from echelon.sync import AllReduce
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, Loss
from echelon.train.run import Event
from echelon.train.worker import Job, train_worker
from echelon.world import World

SLOW = 0.56
SPEEDS = {2: (1.0, SLOW), 3: (1.0, 1.0, SLOW)}
ROWS, BATCH, LANES = 16_384, 256, 64
ROW_SECONDS = 0.0008
DEADLINE = 600.0
PERIOD = 0.02
KINDS = ACCELERATOR, PROCESSOR, STOPPED = "accelerator", "processor", "stopped"


@dataclass(frozen=True)
class Accelerated(Learner):
    """A small model whose step waits for each row, as if an accelerator computed."""

    columns: ClassVar[tuple[str, ...]] = ("image", "label")

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        time.sleep(ROW_SECONDS * len(batch))
        logits = model(batch["image"].float() / 255)
        return nn.functional.cross_entropy(logits, batch["label"], reduction="sum"), len(batch)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.01)


@dataclass
class Convolved(ImagesLearner):
    """cifar10_quick without augmentation."""

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        return batch


@dataclass(frozen=True)
class Side:
    """One way to deal the lanes. weights: speeds that it is told."""

    name: str
    balance: str = "off"
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Took:
    """Seconds of a step.

    settled: the median of the steps after lanes were first dealt again, or of the same steps where they were not.
    whole: the mean of all but the first steps. dealt: the step from which new lanes held; 0 if there were none. lanes:
    at the end.
    """

    settled: float
    whole: float
    dealt: int = 0
    lanes: tuple[int, ...] = ()


WARM_UP, SETTLED = 5, 30
"""Steps that are left out of the whole, and those after which lanes were dealt."""


def measure(folder: str, dataset: str, kind: str, workers: int, steps: int, side: Side) -> Took:
    """One training with so many workers, each in a process of its own."""
    run, stopped = tempfile.mkdtemp(dir=folder), kind == STOPPED
    config = RunConfig(
        epochs=1000, batch_size=BATCH, lanes=LANES, max_steps=steps, eval_every="off", checkpoint_every="off",
        log_every="1step", prefetch=2, balance=side.balance,
        fault=None if stopped else f"slow:{workers - 1}x{1 / SLOW:.4f}",
    )  # fmt: skip
    job = Job(run, dataset, learner_of(kind), AllReduce(), config.resolved(workers), side.weights)
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(World(rank, workers), job)) for rank in range(workers)]
    for process in ranks:
        process.start()
    with throttled(ranks[-1]) if stopped else nullcontext():
        for process in ranks:
            process.join(DEADLINE)
    if any(process.exitcode != 0 for process in ranks):
        for process in ranks:
            process.kill()
        raise RuntimeError(f"{side.name}: the workers ended with {[process.exitcode for process in ranks]}")
    events = json.loads(Path(run, "marks.json").read_text())
    marks = {step: clock for kind, step, clock, _ in events if kind == "train"}
    deals = [values for kind, _, _, values in events if kind == "balance" and values["next_lanes"] != values["lanes"]]
    dealt = deals[0]["from_step"] if deals else 0
    if side.balance != "off" and not 0 < dealt < SETTLED:
        raise RuntimeError(f"lanes were to be dealt before step {SETTLED}, but were from step {dealt} on (0: never)")
    return Took(
        statistics.median(marks[step] - marks[step - 1] for step in range(SETTLED + 1, steps + 1)),
        (marks[steps] - marks[WARM_UP]) / (steps - WARM_UP),
        dealt,
        tuple(deals[-1]["next_lanes"]) if deals else (),
    )


@contextmanager
def throttled(process: BaseProcess) -> Iterator[None]:
    """For the length of the block another process lets this one run only a part of the time."""
    helper = multiprocessing.get_context("spawn").Process(target=_stop_and_go, args=(process.pid,), daemon=True)
    helper.start()
    try:
        yield
    finally:
        helper.kill()
        helper.join()
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGCONT)


def _stop_and_go(pid: int) -> None:
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, signal.SIGSTOP)
            time.sleep((1 - SLOW) * PERIOD)
            os.kill(pid, signal.SIGCONT)
            time.sleep(SLOW * PERIOD)


def learner_of(kind: str) -> Learner:
    if kind == ACCELERATOR:
        return Accelerated()
    labels = [str(label) for label in range(10)]
    return Convolved(labels, [32, 32], total_steps=1, schedule="constant", lr=0.01)


def _rank(world: World, job: Job) -> None:
    marks: list[tuple[str, int, float, Event]] = []

    def mark(event: Event) -> None:
        marks.append((event["kind"], event["step"], time.perf_counter(), event))

    store = dist.FileStore(f"{job.run}/store", world.size)
    train_worker(world, store, job, mark, interface="lo")
    if world.is_first:
        Path(job.run, "marks.json").write_text(json.dumps(marks))


def outcomes(kind: str, workers: int, rounds: Sequence[tuple[Took, ...]]) -> list[Outcome]:
    """What the rounds found. Each has the three sides: equal shares, the perfect split, balanced."""
    equal, perfect, balanced = (statistics.median(t.settled for t in side) for side in zip(*rounds, strict=True))
    saved = statistics.median(100 * (1 - b.settled / e.settled) for e, _, b in rounds)
    over = statistics.median(100 * (b.settled / p.settled - 1) for _, p, b in rounds)
    whole = statistics.median(100 * (1 - b.whole / e.whole) for e, _, b in rounds)
    newest = rounds[-1][2]
    name = f"{kind}, {' : '.join(f'{speed:g}' for speed in SPEEDS[workers])}"
    seconds = f"equal {1e3 * equal:.1f} ms a step, perfect {1e3 * perfect:.1f}, balanced {1e3 * balanced:.1f}"
    lanes = f"lanes {' : '.join(map(str, newest.lanes))}, first dealt from step {newest.dealt} on"
    return [
        Outcome(f"{name}: less time than equal shares", saved, 25 if workers == 2 else None, unit=" %", rest=seconds),
        Outcome(f"{name}: more time than the perfect split", over, 5, at_least=False, unit=" %", rest=lanes),
        Outcome(f"{name}: less time, first steps too", whole, unit=" %", rest="with equal shares until then"),
    ]


def write_noise(url: str) -> str:
    """Noise of CIFAR-10's shape as a dataset; its URL."""
    rng = np.random.default_rng(0)
    rows = {
        "image": rng.integers(0, 256, (ROWS, 3, 32, 32), dtype=np.uint8),
        "label": rng.integers(0, 10, ROWS),
    }
    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    assets = {"mean": np.full((3, 32, 32), 128, np.float32)}
    return write_dataset(url, schema, {"train": [rows]}, assets=assets).url


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of all sides in turn")
    parser.add_argument("--steps", type=int, default=100, help="of each training")
    parser.add_argument(
        "--kinds", default=f"{ACCELERATOR},{PROCESSOR}", help=f"how speeds are made: {', '.join(KINDS)}"
    )
    chosen = parser.parse_args()
    found: list[Outcome] = []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_noise(f"{folder}/data")
        for kind in chosen.kinds.split(","):
            for workers, speeds in SPEEDS.items():
                sides = [Side("equal"), Side("perfect", weights=speeds), Side("balanced", balance="20steps")]
                training = partial(measure, folder, dataset, kind, workers, chosen.steps)
                found += outcomes(kind, workers, in_turn([partial(training, side) for side in sides], chosen.rounds))
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    return told(f"Unequal workers ({load})", found)


if __name__ == "__main__":
    sys.exit(main())
