"""The two bidirectional LSTMs of the video recipe on 1, 2 and 4 workers.

    python benchmarks/video_scaling.py

The same training, an epoch of made videos of 120 to 300 frames in global batches, by AllReduce and by Averaging(4) on
one, two and four workers of one thread each: every worker is a process of its own, all on this machine. Told are the
seconds of a step (the median, without the first ones), the speed-up over one worker and the efficiency. There is no
limit: it needs as many cores as workers that nobody else uses, and where those are missing it measures the machine.
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
from echelon.train.run import Event
from echelon.train.worker import Job, train_worker
from echelon.world import World

BATCH, SHORTEST, LONGEST, TOP = 64, 120, 300, 20
WARM_UP = 1
DEADLINE = 1200.0
STRATEGIES: tuple[Strategy, ...] = (AllReduce(), Averaging(4))


def videos(count: int) -> Iterator[dict[str, Any]]:
    """Videos of random frames, each with one of 20 labels: what they teach does not change how long a step takes."""
    random = np.random.default_rng(0)
    for number in range(count):
        frames = int(random.integers(SHORTEST, LONGEST + 1))
        features = {name: [random.integers(0, 256, (frames, SIZES[name]), np.uint8)] for name in (RGB, AUDIO)}
        yield {**features, LABELS: [np.asarray([number % TOP], np.uint16)], KEY: [str(number)]}


def measure(folder: str, job: Job, workers: int) -> float:
    """Seconds of a step with so many workers, each in a process of its own."""
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
    marks = json.loads(Path(job.run, "marks.json").read_text())[WARM_UP:]
    return statistics.median(later - earlier for earlier, later in pairwise(marks))


def _rank(world: World, job: Job) -> None:
    marks: list[float] = []

    def mark(event: Event) -> None:
        if event["kind"] == "train":
            marks.append(time.perf_counter())

    store = dist.FileStore(f"{job.run}/store", world.size)
    train_worker(world, store, job, mark, interface="lo")
    if world.is_first:
        Path(job.run, "marks.json").write_text(json.dumps(marks))


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
            name, alone = type(strategy).__name__, 0.0
            for workers in chosen.workers:
                config = RunConfig(
                    batch_size=BATCH, eval_every="off", checkpoint_every="off", log_every="4steps", bucket_steps=4
                ).resolved(workers)
                run = tempfile.mkdtemp(dir=folder)
                job = Job(run, dataset.url, learner_for(dataset, TrainOptions(), config), strategy, config, None)
                # Marks are four steps apart, which are one round of Averaging.
                seconds = measure(folder, job, workers) / 4
                alone = alone or seconds * workers
                rest = f"{seconds:.2f} s a step of {BATCH} videos, efficiency {alone / seconds / workers:.0%}"
                outcomes.append(Outcome(f"{name}, {workers} workers", alone / seconds, unit=" ×", rest=rest))
    load = os.getloadavg()[0]
    return told(f"Speed over one worker, on {os.cpu_count()} cores with a load of {load:.0f} at the end", outcomes)


if __name__ == "__main__":
    sys.exit(main())
