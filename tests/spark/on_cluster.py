"""The driver of test_cluster.py: on_cluster.py MASTER FOLDER REACH prints what it saw as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from spark_learners import Mortal, write_line

from echelon.data.manifest import open_dataset
from echelon.driver import Place, drive
from echelon.spark.barrier import run_gang
from echelon.spark.failure import WorkerFailed
from echelon.spark.job import run_tasks
from echelon.spark.probe import Probe
from echelon.spark.rendezvous import Member
from echelon.spark.session import session
from echelon.sync.allreduce import AllReduce
from echelon.train.config import RunConfig
from echelon.train.run import RunFolder
from echelon.train.worker import Job


def where(member: Member) -> bytes:
    """The folder of the executor, which each has for itself."""
    return os.getcwd().encode()


def main(master: str, folder: Path, reach: int) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # In a cluster the workers have installed what they import; here they find it beside this script.
        spark = session(master, workers=2, conf={"spark.executorEnv.PYTHONPATH": str(Path(__file__).parent)})
    seen: dict[str, Any] = {"warnings": [str(warning.message) for warning in caught]}
    began = time.monotonic()
    folders = run_gang(spark, where, 2, run_id="cluster", attempt=1)
    seen["cold launch"] = time.monotonic() - began
    seen["executors"] = len(set(folders))
    try:
        run_gang(spark, where, 2, run_id="cluster", attempt=2, probe=Probe(write="/proc/self/cwd"))
    except WorkerFailed as error:
        seen["unshared"] = str(error)
    seen["tasks"] = [result.decode() for result in run_tasks(spark, str.encode, ["a", "b", "c"])]

    grave, starts = folder / "grave", []
    config = RunConfig(batch_size=32, epochs=5, eval_every="off", checkpoint_every="10steps").resolved(2)
    learner = Mortal(grave=str(grave), reach=reach)
    job = Job(str(folder / "run"), write_line(str(folder / "data")).url, learner, AllReduce(), config)

    def on_event(event: dict[str, Any]) -> None:
        if event["kind"] == "start":
            starts.append((event["attempt"], event["step"], event["workers"], time.time()))

    run = RunFolder(job.run)

    def begin() -> None:
        run.create(learner, job.strategy, config, open_dataset(job.dataset), 2)

    drive(job, Place(2, master), begin, on_event)
    seen["steps"], seen["attempts"], seen["workers"] = (run.results[name] for name in ("steps", "attempts", "workers"))
    seen["starts"] = [start[:3] for start in starts]
    seen["seconds"] = starts[-1][3] - grave.stat().st_mtime
    seen["causes"] = [event["cause"] for event in run.events() if event["kind"] == "recovery"]
    spark.stop()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
