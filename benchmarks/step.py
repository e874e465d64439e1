"""What a step costs beside plain PyTorch: cifar10_quick on made images of CIFAR-10's shape.

    python benchmarks/step.py

1. One worker, with its reading of shuffled Parquet, beside a bare loop over tensors in memory: at least 0.95 of its
   rows per second of CPU time, all threads counted. A few steps of the one and of the other alternate in one process,
   so that what else the machine does meets both.
2. A checkpoint of 100 MB: at most 2 % of the 60 s after which the next one is due by default, in CPU time.
3. Two workers on two cores, each with the batch of one worker on one core: at least 1.8 times its rows per second.
   This needs two cores that nobody else uses.

Medians count; about three minutes on four cores. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from measured import Outcome, in_turn, told
from torch import nn

from echelon.data.batch import Batch
from echelon.data.keyed import Draw
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.learner import ImagesLearner
from echelon.sync import AllReduce, Averaging
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.run import Event
from echelon.train.worker import Job, train_worker
from echelon.world import World

ROWS, BATCH, CHUNK = 20_000, 100, 5
WARM_UP = 4
"""Chunks of steps that are left out."""


@dataclass
class Plain(ImagesLearner):
    """Without augmentation, so that a bare loop is short."""

    def prepare(self, batch: Batch, draw: Draw | None) -> Batch:
        return batch


@dataclass
class Large(Plain):
    """12.6 million parameters, which with their momentum are 100 MB."""

    def _net(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4096), nn.Linear(4096, 10))


@dataclass(frozen=True)
class Bench:
    """What all measurements share. cores: that may be used. chunks: of steps, of each measurement."""

    folder: Path
    dataset: Dataset
    images: torch.Tensor
    labels: torch.Tensor
    cores: list[int]
    chunks: int

    def learner(self, kind: type[Plain] = Plain) -> Plain:
        return kind([str(label) for label in range(10)], [32, 32], total_steps=1, schedule="constant", lr=0.01)

    def job(self, strategy: Strategy, workers: int, checkpoint_every: str = "off", kind: type[Plain] = Plain) -> Job:
        config = RunConfig(
            epochs=1000,
            batch_size_per_worker=BATCH,
            max_steps=(WARM_UP + self.chunks) * CHUNK,
            eval_every="off",
            checkpoint_every=checkpoint_every,
            log_every=f"{CHUNK}steps",
        )
        run = tempfile.mkdtemp(dir=self.folder)
        return Job(run, self.dataset.url, self.learner(kind), strategy, config.resolved(workers))


def made(folder: Path) -> tuple[Dataset, torch.Tensor, torch.Tensor]:
    """Noise of CIFAR-10's shape, as a dataset and as tensors."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (ROWS, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, ROWS)
    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    assets = {"mean": np.full((3, 32, 32), 128, np.float32)}
    splits = {"train": [{"image": images, "label": labels}]}
    dataset = write_dataset(str(folder / "data"), schema, splits, assets=assets)
    return dataset, torch.from_numpy(images), torch.from_numpy(labels)


def bare_steps(bench: Bench) -> Iterator[None]:
    """Steps of plain PyTorch over tensors in memory, in a new order."""
    learner = bench.learner()
    model: nn.Module = learner.model()
    learner.initialise(model, bench.dataset)
    optimizer = learner.optimizer(model)
    while True:
        for rows in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(bench.images[rows]), bench.labels[rows]).backward()
            optimizer.step()
            yield


def beside_bare(bench: Bench) -> tuple[list[float], list[float]]:
    """CPU seconds of each chunk of steps, ours and bare ones in turn; all threads of this process count as ours."""
    ours, bare, peer, start = [], [], bare_steps(bench), 0.0

    def chunk_ended(event: Event) -> None:
        nonlocal start
        if event["kind"] != "train":
            return
        ours.append(time.process_time() - start)
        start = time.thread_time()
        for _ in range(CHUNK):
            next(peer)
        bare.append(time.thread_time() - start)
        start = time.process_time()

    train_worker(World(), None, bench.job(AllReduce(), 1), chunk_ended)
    return ours[WARM_UP:], bare[WARM_UP:]


def beside_checkpoints(bench: Bench) -> tuple[list[float], list[float]]:
    """CPU seconds of the chunks of steps in which a checkpoint is written, and of those in between."""
    marks = []

    def chunk_ended(event: Event) -> None:
        if event["kind"] == "train":
            marks.append(time.process_time())

    train_worker(World(), None, bench.job(AllReduce(), 1, f"{2 * CHUNK}steps", Large), chunk_ended)
    chunks = [after - before for before, after in pairwise(marks)][WARM_UP:]
    return chunks[1::2], chunks[::2]


def gang_speed(bench: Bench, strategy: Strategy, workers: int) -> tuple[float, float]:
    """Rows per second of workers in processes of their own, each bound to a core: by the clock, and by rank 0's CPU
    time, as if nobody ever waited for a core or for another worker.
    """
    job = bench.job(strategy, workers)
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(World(r, workers), bench.cores[r], job)) for r in range(workers)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    marks = json.loads(Path(job.run, "marks.json").read_text())
    (rows, clock, cpu), (last, clock_after, cpu_after) = marks[WARM_UP - 1], marks[-1]
    return (last - rows) / (clock_after - clock), (last - rows) / (cpu_after - cpu)


def _rank(world: World, core: int, job: Job) -> None:
    os.sched_setaffinity(0, {core})
    marks = []

    def chunk_ended(event: Event) -> None:
        if event["kind"] == "train":
            marks.append((event["rows"], time.perf_counter(), time.process_time()))

    store = dist.FileStore(f"{job.run}/store", world.size) if world.size > 1 else None
    train_worker(world, store, job, chunk_ended, interface="lo")
    if world.is_first:
        Path(job.run, "marks.json").write_text(json.dumps(marks))


def one_core(bench: Bench) -> list[Outcome]:
    os.sched_setaffinity(0, {bench.cores[0]})
    ours, bare = beside_bare(bench)
    found = statistics.median(b / a for a, b in zip(ours, bare, strict=True))
    steps = " and ".join(f"{1e3 * statistics.median(chunks) / CHUNK:.2f}" for chunks in (ours, bare))
    saving, others = map(statistics.median, beside_checkpoints(bench))
    os.sched_setaffinity(0, set(bench.cores))
    return [
        Outcome("one worker / bare PyTorch, rows/s of CPU time", found, 0.95, rest=f"{steps} ms a step"),
        Outcome("a checkpoint of 100 MB / 60 s of CPU time", (saving - others) / 60, 0.02, at_least=False,
                rest=f"{1e3 * (saving - others):.0f} ms each"),
    ]  # fmt: skip


def two_cores(bench: Bench, rounds: int) -> list[Outcome]:
    """One worker, of whom all are compared with the same runs, and two by each strategy, in turn."""
    strategies = {"AllReduce": AllReduce(), "Averaging(10)": Averaging(10)}
    sides = [partial(gang_speed, bench, AllReduce(), 1)]
    sides += [partial(gang_speed, bench, strategy, 2) for strategy in strategies.values()]
    one, *gangs = zip(*in_turn(sides, rounds), strict=True)
    outcomes = []
    for name, two in zip(strategies, gangs, strict=True):
        found, by_cpu = (statistics.median(t[i] / o[i] for t, o in zip(two, one, strict=True)) for i in (0, 1))
        speeds = " and ".join(f"{statistics.median(speed for speed, _ in each):,.0f}" for each in (two, one))
        rest = f"{speeds} rows/s; by CPU time {by_cpu:.3f}"
        outcomes.append(Outcome(f"two workers / one, rows/s, {name}", found, 1.8, rest=rest))
    return outcomes


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--chunks", type=int, default=24, help=f"chunks of {CHUNK} steps of each measurement")
    arguments.add_argument("--rounds", type=int, default=3, help="of two workers and one in turn; 0 leaves them out")
    chosen = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), *made(Path(folder)), cores, chosen.chunks)
        found = one_core(bench) + (two_cores(bench, chosen.rounds) if chosen.rounds else [])
    return told("A step beside plain PyTorch", found)


if __name__ == "__main__":
    sys.exit(main())
