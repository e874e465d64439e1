"""Prediction of a dataset beside the bare forward pass of the same model over the same images in memory.

    python benchmarks/predict.py

Both have the same batch size, threads and precision, each one thread a process. Ours is the whole call: loading the
model, reading and decoding the rows, and writing the predictions. The bare pass is measured twice: with its memory
kept as ours is (see `echelon.allocation`), which is what the limit of 0.85 is about, and as plain PyTorch has it.

1. One process, by the clock and by the CPU time of all its threads.
2. Two workers of Spark, local[2] with a warm session, beside two processes with half the images each. By CPU time all
   processes of Spark count, Java among them.

What a call costs whatever it predicts is told in seconds, from one of four rows: it is in the figures of ours.

Each side has predicted a batch before, since the first pass of a process waits for memory that it has never used; ours
gives that back ten seconds after a call. Every figure comes from a new process but for that of Spark. Sides are
measured in turn and medians count. Exits with 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty, Queue

import numpy as np
import torch
from measured import MISSED, Outcome, in_turn, told
from processes import used

from echelon.allocation import kept_memory
from echelon.api import Run, fit
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.data.write import write_dataset
from echelon.recipes.images.labelled import schema_of
from echelon.recipes.images.learner import ImagesLearner
from echelon.spark.session import session
from echelon.train.config import RunConfig
from echelon.train.precision import autocast

LIMIT, WORKERS, DEADLINE = 0.85, 2, 600.0
WARM = "warm"
"""A split of a full batch for each worker."""
CLASSES = [str(number) for number in range(1000)]


@dataclass(frozen=True)
class Case:
    """A model, the side of its images, the rows of a forward pass, and how many are predicted."""

    model: str
    side: int
    batch: int
    rows: int

    def __str__(self) -> str:
        return f"{self.model} {self.side}x{self.side}, batch {self.batch}"


CASES = (
    Case("quick", 32, 500, 40_000),
    Case("resnet", 32, 500, 20_000),
    Case("resnet", 224, 32, 3_000),
    Case("caffenet", 227, 32, 2_000),
    Case("googlenet", 224, 32, 300),
)


@dataclass(frozen=True)
class Speed:
    """Rows per second, by the clock and by CPU time."""

    clock: float
    cpu: float


@dataclass(frozen=True)
class Made:
    """A run and images for it. folder: for predictions."""

    case: Case
    folder: Path
    precision: str

    @property
    def run(self) -> Run:
        return Run(self.folder / "run")

    @property
    def dataset(self) -> Dataset:
        return open_dataset(str(self.folder / "data"))

    def predict(self, split: str, workers: int = 1) -> None:
        out = self.folder / uuid.uuid4().hex
        self.run.predict(self.dataset, out, split=split, workers=workers, batch_size=self.case.batch,
                         precision=self.precision, cpus_per_worker=1)  # fmt: skip


def made(case: Case, folder: Path, precision: str) -> Made:
    """A run of one step, and noise to predict, which no compression makes smaller."""
    random = np.random.default_rng(0)
    splits = {}
    for split, rows in (("train", 2 * WORKERS), (WARM, WORKERS * case.batch), ("test", case.rows)):
        images = random.integers(0, 256, (rows, 3, case.side, case.side), np.uint8)
        splits[split] = [{"image": images, "label": random.integers(0, 1000, rows), "key": list(map(str, range(rows)))}]
    size = (case.side, case.side)
    assets = {"mean": np.full((3, *size), 128, np.float32)}
    dataset = write_dataset(str(folder / "data"), schema_of(size), splits, info={"classes": CLASSES}, assets=assets)
    learner = ImagesLearner(CLASSES, list(size), total_steps=1, model_name=case.model, pad=0)
    fit(learner, dataset, RunConfig(batch_size=2 * WORKERS, eval_every="off"), run=folder / "run")
    return Made(case, folder, precision)


def timed(rows: int, act: Callable[[], None], spent: Callable[[], float] = time.process_time) -> Speed:
    """spent: seconds of CPU so far."""
    clock, cpu = time.perf_counter(), spent()
    act()
    return Speed(rows / (time.perf_counter() - clock), rows / (spent() - cpu))


def ours(found: Queue[Speed], work: Made) -> None:
    """Of one process that has predicted a batch before."""
    work.predict(WARM)
    found.put(timed(work.case.rows, partial(work.predict, "test")))


def bare(
    found: Queue[Speed], work: Made, keeps: bool, part: int = 0, parts: int = 1, meet: Barrier | None = None
) -> None:
    """Of one process, over its part of the images."""
    torch.set_num_threads(1)
    model, rows = work.run.model(), work.case.rows // parts
    (read,) = span_batches(work.dataset, "test", ("image",), part * rows, (part + 1) * rows, rows)
    images = read["image"]

    def forward() -> None:
        for batch in images.split(work.case.batch):
            model(batch).float().softmax(1).max(1)

    with (
        kept_memory() if keeps else nullcontext(),
        torch.inference_mode(),
        autocast(work.precision, torch.device("cpu")),
    ):
        model(images[: work.case.batch])
        if meet is not None:
            meet.wait(DEADLINE)
        found.put(timed(rows, forward))


def together(*sides: Callable[[Queue[Speed]], None]) -> list[Speed]:
    """What some functions found at the same time, each in a new process."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    processes = [context.Process(target=side, args=(found,)) for side in sides]
    for process in processes:
        process.start()
    try:
        return [_next(found, processes) for _ in sides]
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def _next(found: Queue[Speed], processes: Sequence[BaseProcess]) -> Speed:
    """What comes next of processes.

    Raises:
        RuntimeError: one of them has failed. queue.Empty: nothing came within the deadline.
    """
    end = time.monotonic() + DEADLINE
    while True:
        failed = [process.exitcode for process in processes if process.exitcode]
        try:
            return found.get(timeout=1)
        except Empty:
            if failed:
                raise RuntimeError(f"a side ended with status {failed[0]}: its error stands above") from None
            if time.monotonic() > end:
                raise


def bare_parts(work: Made) -> Speed:
    """Of processes that share the images, by the clock of the slower one and by the CPU time of both."""
    meet = multiprocessing.get_context("spawn").Barrier(WORKERS)
    sides = [partial(bare, work=work, keeps=True, part=part, parts=WORKERS, meet=meet) for part in range(WORKERS)]
    speeds = together(*sides)
    return Speed(
        WORKERS * min(speed.clock for speed in speeds), statistics.harmonic_mean([speed.cpu for speed in speeds])
    )


def ours_on_spark(work: Made) -> Speed:
    return timed(work.case.rows, partial(work.predict, "test", WORKERS), used)


def fixed(work: Made, workers: int) -> float:
    """Seconds of a call with a few rows."""
    return 1 / timed(1, partial(work.predict, "train", workers)).clock


def measured(work: Made, rounds: int) -> list[Outcome]:
    """The lines of one case."""
    one = [partial(ours, work=work), partial(bare, work=work, keeps=True), partial(bare, work=work, keeps=False)]
    alone = in_turn([lambda side=side: together(side)[0] for side in one], rounds)
    work.predict(WARM, WORKERS)
    shared = in_turn([lambda: ours_on_spark(work), lambda: bare_parts(work)], rounds)
    lines = [
        line("one process, by the clock", [(a.clock, b.clock) for a, b, _ in alone], LIMIT),
        line("one process, by CPU time", [(a.cpu, b.cpu) for a, b, _ in alone]),
        line("one process / plain PyTorch", [(a.clock, c.clock) for a, _, c in alone]),
        line("local[2] / two processes", [(a.clock, b.clock) for a, b in shared], LIMIT),
        line("local[2] / two processes, by CPU time", [(a.cpu, b.cpu) for a, b in shared]),
    ]
    for what, workers in (("one process", 1), ("local[2]", WORKERS)):
        seconds = statistics.median(fixed(work, workers) for _ in range(rounds))
        lines.append(Outcome(f"{what}, a call of {2 * WORKERS} rows", seconds, unit=" s", rest="is in the above"))
    return lines


def line(what: str, rates: Sequence[tuple[float, float]], limit: float | None = None) -> Outcome:
    """rates: rows/s of ours and of the other side, of each round."""
    ratio = statistics.median(own / other for own, other in rates)
    of_side = [list(side) for side in zip(*rates, strict=True)]
    ranges = [f"{statistics.median(side):,.0f} ({min(side):,.0f}–{max(side):,.0f})" for side in of_side]
    return Outcome(what, ratio, limit, rest=f"{ranges[0]} and {ranges[1]} rows/s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", help=f"of {', '.join(sorted({case.model for case in CASES}))}")
    parser.add_argument("--sides", type=int, nargs="*", help="of images, in pixels; default all")
    parser.add_argument("--precision", default="fp32", help="fp32 or bf16")
    parser.add_argument("--share", type=float, default=1.0, help="of the images; with few the fixed costs weigh more")
    arguments = parser.parse_args()
    chosen = [
        replace(case, rows=round(case.rows * arguments.share))
        for case in CASES
        if (not arguments.models or case.model in arguments.models)
        and (not arguments.sides or case.side in arguments.sides)
    ]
    spark = session(f"local[{WORKERS},8]", workers=WORKERS)
    codes = []
    try:
        for case in chosen:
            with tempfile.TemporaryDirectory() as folder:
                outcomes = measured(made(case, Path(folder), arguments.precision), arguments.rounds)
            codes.append(told(f"{case}, {arguments.precision}: prediction / bare forward pass", outcomes))
    finally:
        spark.stop()
    return MISSED if MISSED in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
