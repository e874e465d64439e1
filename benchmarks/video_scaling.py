"""The two bidirectional LSTMs of the video recipe on 1, 2 and 4 workers.

    python benchmarks/video_scaling.py

The same training, an epoch of made videos of 120 to 300 frames in global batches, by AllReduce and by Averaging(4) on
one, two and four workers of one thread each: every worker is a process of its own, all on this machine. Told are the
seconds of a step (the median, without the first ones), the speed-up over one worker and the efficiency; and the CPU
time of all workers beside that of one, which says how much of the work is the same, whatever else the machine does.
There is no limit: the clock needs as many cores as workers that nobody else uses.
About six minutes on four cores.
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
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from measured import Outcome, told

from echelon.data.write import write_dataset
from echelon.recipes.video.columns import AUDIO, CLASSES, KEY, LABEL_COUNTS, LABELS, RGB, SIZES, schema_of
from echelon.recipes.video.settings import TrainOptions, learner_for
from echelon.sync import AllReduce, Averaging, Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import describe
from echelon.train.worker import Job, train_worker
from echelon.world import World

BATCH, SHORTEST, LONGEST, TOP = 64, 120, 300, 20
WARM_UP, BETWEEN = 1, 4
"""Marks that are left out, and steps between two marks, which are a round of Averaging(4)."""
DEADLINE = 1200.0
STRATEGIES: tuple[Strategy, ...] = (AllReduce(), Averaging(4))


def videos(count: int) -> Iterator[dict[str, Any]]:
    """Videos of random frames, each with one of 20 labels: what they teach does not change how long a step takes."""
    random = np.random.default_rng(0)
    for number in range(count):
        frames = int(random.integers(SHORTEST, LONGEST + 1))
        features = {name: [random.integers(0, 256, (frames, SIZES[name]), np.uint8)] for name in (RGB, AUDIO)}
        yield {**features, LABELS: [np.asarray([number % TOP], np.uint16)], KEY: [str(number)]}


@dataclass(frozen=True)
class Took:
    """What a step took: seconds by the clock (the median), and of CPU time of all workers together (the mean)."""

    clock: float
    cpu: float


def measure(job: Job, workers: int) -> Took:
    """A training with so many workers, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(World(rank, workers), job)) for rank in range(workers)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(DEADLINE)
    if any(process.exitcode != 0 for process in ranks):
        for process in ranks:
            process.kill()
        raise RuntimeError(f"the workers ended with {[process.exitcode for process in ranks]}")
    told = [json.loads(Path(job.run, f"marks-{rank}.json").read_text())[WARM_UP:] for rank in range(workers)]
    clock = statistics.median(later[0] - earlier[0] for earlier, later in pairwise(told[0]))
    cpu = sum(marks[-1][1] - marks[0][1] for marks in told) / (len(told[0]) - 1)
    return Took(clock / BETWEEN, cpu / BETWEEN)


def _rank(world: World, job: Job) -> None:
    """Notes the clock and its CPU time every few steps, at the boundaries of the strategy."""
    marks: list[tuple[float, float]] = []

    class Marked(type(job.learner)):  # type: ignore[misc]
        """The learner, which is asked for its rate before every step."""

        def rate(self, step: int) -> float:
            if step % BETWEEN == 0:
                marks.append((time.perf_counter(), time.process_time()))
            return float(super().rate(step))

    learner = Marked(**describe(job.learner)["fields"])
    store = dist.FileStore(f"{job.run}/store", world.size)
    train_worker(world, store, replace(job, learner=learner), lambda event: None, interface="lo")
    Path(job.run, f"marks-{world.rank}.json").write_text(json.dumps(marks))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    chosen = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        counts = np.zeros(CLASSES, np.int64)
        counts[:TOP] = chosen.rows // TOP
        dataset = write_dataset(
            f"{folder}/dataset", schema_of("frame"), {"train": videos(chosen.rows)},
            info={"recipe": "video", "level": "frame"}, assets={LABEL_COUNTS: counts},
        )  # fmt: skip
        for strategy in STRATEGIES:
            name, alone = type(strategy).__name__, None
            for workers in chosen.workers:
                config = RunConfig(batch_size=BATCH, eval_every="off", checkpoint_every="off", bucket_steps=4).resolved(
                    workers
                )
                run = tempfile.mkdtemp(dir=folder)
                job = Job(run, dataset.url, learner_for(dataset, TrainOptions(), config), strategy, config, None)
                took = measure(job, workers)
                alone = alone or took
                speed = alone.clock / took.clock
                rest = (
                    f"{took.clock:.2f} s a step of {BATCH} videos, efficiency {speed / workers:.0%}; "
                    f"CPU time of all {took.cpu:.2f} s, with one worker {alone.cpu:.2f} s"
                )
                outcomes.append(Outcome(f"{name}, {workers} workers", speed, unit=" ×", rest=rest))
    load = os.getloadavg()[0]
    return told(f"Speed over one worker, on {os.cpu_count()} cores with a load of {load:.0f} at the end", outcomes)


if __name__ == "__main__":
    sys.exit(main())
