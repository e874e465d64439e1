"""From submitting a training to its first step on two workers, in a Spark session that is warm.

    python benchmarks/submit.py

1. A training, from the driver's call to the moment when the slower worker begins its first step: at most 1.5 s.
2. One function that meets and adds a number up, launched by PySpark's own TorchDistributor and, in the same session, by
   us: TorchDistributor takes at least 5 times as long.

Medians count. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from measured import Outcome, told
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.group import connect
from echelon.spark.barrier import run_gang
from echelon.spark.rendezvous import Member
from echelon.spark.session import session
from echelon.spark.training import train_on_spark
from echelon.sync import AllReduce
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, Loss
from echelon.train.worker import Job

WORKERS, ROWS, LIMIT, PEER_LIMIT = 2, 2_000, 1.5, 5.0


@dataclass
class Timed(Learner):
    """A small classifier of CIFAR-10's shape that notes when its first step begins.

    notes: a folder for one file of each process.
    """

    notes: str

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.01)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        note = Path(self.notes) / str(os.getpid())
        if not note.exists():
            note.write_text(str(time.time()))
        scores = model(batch["image"].float() / 255)
        return nn.functional.cross_entropy(scores, batch["label"], reduction="sum"), len(batch)


def images(url: str) -> Dataset:
    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    random = np.random.default_rng(0)
    values = {"image": random.integers(0, 256, (ROWS, 3, 32, 32), np.uint8), "label": random.integers(0, 10, ROWS)}
    return write_dataset(url, schema, {"train": [values]})


def to_first_step(folder: Path, dataset: Dataset) -> float:
    """Seconds from the call to the first step of the slower worker."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    config = RunConfig(max_steps=3, batch_size=100, eval_every="off").resolved(WORKERS)
    job = Job(str(folder / "run"), dataset.url, Timed(str(notes)), AllReduce(), config)
    spark = session(workers=WORKERS)
    start = time.time()
    train_on_spark(spark, job, WORKERS, lambda event: None)
    begun = [float(note.read_text()) for note in notes.iterdir()]
    if len(begun) != WORKERS:
        raise RuntimeError(f"{len(begun)} workers made a first step, not {WORKERS}")
    return max(begun) - start


def add_up() -> bytes:
    """What both launchers run once the ranks have met. Returns when it was done."""
    total = torch.ones(1)
    dist.all_reduce(total)
    if int(total) != WORKERS:
        raise RuntimeError(f"{WORKERS} workers add up to {int(total)}")
    return str(time.time()).encode()


def by_gang(folder: Path) -> float:
    def work(member: Member) -> bytes:
        with connect(member.world, member.store, interface=member.interface, seconds=30):
            return add_up()

    start = time.time()
    return max(float(t) for t in run_gang(session(workers=WORKERS), work, WORKERS, run_id="submit", attempt=1)) - start


def by_torch_distributor(folder: Path) -> float:
    from pyspark.ml.torch.distributor import TorchDistributor

    def work(notes: str) -> None:
        dist.init_process_group("gloo")
        try:
            done = add_up()
        finally:
            dist.destroy_process_group()
        (Path(notes) / str(os.getpid())).write_bytes(done)

    folder.mkdir(parents=True)
    start = time.time()
    TorchDistributor(num_processes=WORKERS, local_mode=False, use_gpu=False).run(work, str(folder))
    return max(float(note.read_text()) for note in folder.iterdir()) - start


def seconds_of(rounds: int, measure: Callable[[int], float]) -> list[float]:
    """Of some rounds after one that is not counted."""
    measure(0)
    return [measure(number) for number in range(1, rounds + 1)]


def listed(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({', '.join(f'{each:.2f}' for each in seconds)})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer-rounds", type=int, default=3)
    arguments = parser.parse_args()
    spark = session(f"local[{WORKERS},8]", workers=WORKERS)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        dataset = images(str(place / "data"))
        first = seconds_of(arguments.rounds, lambda n: to_first_step(place / f"t{n}", dataset))
        ours = seconds_of(arguments.rounds, lambda n: by_gang(place))
        peer = seconds_of(arguments.peer_rounds, lambda n: by_torch_distributor(place / f"d{n}"))
    spark.stop()
    found = statistics.median(peer) / statistics.median(ours)
    return told("From submitting a training to its first step, two workers", [
        Outcome("submit to first step", statistics.median(first), LIMIT, at_least=False, unit=" s", rest=listed(first)),
        Outcome("launch by TorchDistributor / by Echelon", found, PEER_LIMIT, unit=" ×",
                rest=f"{listed(peer)} and {listed(ours)}"),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
