"""The driver of test_cut_off.py: cut_off.py MASTER ADDRESS FOLDER LINK trains, cuts the link and prints what it saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spark_learners import Line, write_line
from torch import nn

from echelon.data.batch import Batch
from echelon.spark.session import session
from echelon.spark.training import train_on_spark
from echelon.sync.allreduce import AllReduce
from echelon.train.config import RunConfig
from echelon.train.learner import Loss
from echelon.train.run import RunFolder
from echelon.train.worker import Job


@dataclass
class Unhurried(Line):
    """A step takes a tenth of a second, so that there is time to cut a link."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        time.sleep(0.1)
        return super().loss(model, batch)


def main(master: str, address: str, folder: Path, link: str) -> dict[str, Any]:
    conf = {"spark.driver.host": address, "spark.executorEnv.PYTHONPATH": str(Path(__file__).parent)}
    spark = session(master, workers=2, conf=conf)
    config = RunConfig(batch_size=32, epochs=10, eval_every="off", checkpoint_every="10steps").resolved(2)
    job = Job(str(folder / "run"), write_line(str(folder / "data")).url, Unhurried(), AllReduce(), config)
    run, cut, again = RunFolder(job.run), [], []

    def on_event(event: dict[str, Any]) -> None:
        if event["kind"] == "checkpoint" and not cut:
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            cut.append(time.monotonic())
        if event["kind"] == "start" and event["attempt"] > 1:
            again.append(time.monotonic())

    trained = train_on_spark(spark, job, 2, on_event)
    causes = [event["cause"] for event in run.events() if event["kind"] == "recovery"]
    return {
        "steps": trained.progress.step,
        "workers": trained.workers,
        "attempt": trained.attempt,
        "seconds": again[-1] - cut[0],
        "causes": causes,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])), flush=True)
