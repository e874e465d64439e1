"""What torchrun starts in a test: a training, whose rank 1 kills itself at step 7 of the first start."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from rank import BACKWARD, Kill, Order, Watched, seed_process

from echelon.data.manifest import open_dataset
from echelon.launch.torchrun import train_as_rank
from echelon.train.learner import rebuild
from echelon.train.run import RunFolder
from echelon.train.worker import Job
from echelon.world import torchrun_world


def main(folder: Path, url: str) -> None:
    asked = json.loads((folder / "asked.json").read_text())
    learner, strategy, config = rebuild(asked["learner"]), rebuild(asked["strategy"]), rebuild(asked["config"])
    job = Job(str(folder / "run"), url, learner, strategy, config)
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    world = replace(torchrun_world(), attempt=restarts + 1)
    kill = Kill(1, BACKWARD, step=7, after=4) if restarts == 0 else None
    Watched(Order(world, job, folder, kill)).install()
    seed_process(world.rank)

    def create() -> None:
        run = RunFolder(job.run)
        if not run.exists():
            run.create(learner, strategy, config, open_dataset(url), world.size)

    progress, world = train_as_rank(job, create, lambda event: None)
    (folder / f"progress-{world.rank}.json").write_text(json.dumps([world.attempt, progress.step]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
