"""What loading adds to a training step: the same steps on one batch that stays in memory, and on the loader's batches.

The loader reads from files all the time, with nothing cached. Claim: it adds at most 3 % to a step of cifar10_quick,
the smallest network here. Both sides do as many steps as the loader makes at once, in turn and in alternating order.
CPU time counts the reading thread as if it had no core of its own, and hardly depends on what else the machine does;
what the training thread waits for batches is shown beside it.

Usage: python benchmarks/loading_overhead.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from loading import images
from measured import Outcome, told

from echelon.data.batch import Batch
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.models import Quick

ROWS, BATCH, LANES, STEPS, CLAIM = 50_000, 100, 50, 8, 0.03


def trainer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Quick(10, (32, 32), "caffe")
    return model, torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    inputs = batch["x"].float().sub_(128).contiguous(memory_format=torch.channels_last)
    optimizer.zero_grad()
    F.cross_entropy(model(inputs), batch["label"] % 10).backward()
    optimizer.step()


def seconds(batches: Iterator[Batch], model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """A step by the clock, and in CPU time of all threads."""
    clock, cpu = time.perf_counter(), time.process_time()
    for batch in itertools.islice(batches, STEPS):
        step(model, optimizer, batch)
    return (time.perf_counter() - clock) / STEPS, (time.process_time() - cpu) / STEPS


def compare(dataset: Dataset, rounds: int) -> Outcome:
    """What loading adds to a step's CPU time and waits, as a part of the step."""
    loader = Loader(dataset, "train", batch_size=BATCH, lanes=LANES, seed=0, share=range(LANES), cache_mb=0)
    loaded = (batch for _, batch in loader.batches(Position(0, 0), 1000) if batch is not None)
    sides = (itertools.repeat(next(loaded)), loaded)
    model, optimizer = trainer()
    for batches in sides * 2:
        seconds(batches, model, optimizer)
    waited, took = loader.seconds_waiting, np.zeros((rounds, 2, 2))
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            took[number, side] = seconds(sides[side], model, optimizer)
    waited = (loader.seconds_waiting - waited) / STEPS / took[:, 1, 0].sum()
    loader.close()
    clock, cpu = np.median(took[:, 1] / took[:, 0], axis=0) - 1
    in_memory, from_files = np.median(took, axis=0) * 1e3
    rest = (
        f"CPU time of a step {from_files[1]:.2f} ms, with one batch in memory {in_memory[1]:.2f} ({cpu:+.1%}); "
        f"by the clock {from_files[0]:.2f} and {in_memory[0]:.2f} ({clock:+.1%}); waited for batches {waited:.2%}"
    )
    return Outcome("what loading adds to a step", float(cpu + waited), CLAIM, at_least=False, rest=rest)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--rounds", type=int, default=30, help="times that each side is measured")
    given = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        schema = Schema((Column("x", "uint8", (3, 32, 32)), Column("label", "int64")))
        dataset = write_dataset(str(Path(folder) / "dataset"), schema, {"train": images(ROWS)}, shuffle_seed=None)
        found = compare(dataset, given.rounds)
    return told("Loading in a step of cifar10_quick, nothing cached", [found])


if __name__ == "__main__":
    sys.exit(main())
