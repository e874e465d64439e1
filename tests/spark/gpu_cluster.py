"""The driver of test_gpu_cluster.py: gpu_cluster.py MASTER FOLDER prints what it saw as JSON.

The cluster has one host with four cores and three GPUs of made-up numbers, which Spark gives away one a task.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from spark_learners import Line, write_line

from echelon.api import fit
from echelon.errors import EchelonError
from echelon.spark.barrier import run_gang
from echelon.spark.job import run_tasks
from echelon.spark.rendezvous import Member
from echelon.spark.session import session
from echelon.spark.slots import TooFewSlots
from echelon.train.config import RunConfig

CONF = {
    "spark.executor.cores": "4",
    "spark.executor.resource.gpu.amount": "3",
    "spark.task.resource.gpu.amount": "1",
    # In a cluster the workers have installed what they import; here they find it beside this script.
    "spark.executorEnv.PYTHONPATH": str(Path(__file__).parent),
}


def device(member: Member) -> bytes:
    """The device of a rank."""
    return str(member.world.device).encode()


def address(item: int) -> bytes:
    """What Spark gave to an ordinary task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    return context.resources()["gpu"].addresses[0].encode()


def refusal(error: type[EchelonError], work: Any) -> str:
    """How it is refused."""
    try:
        work()
    except error as refused:
        return str(refused)
    return ""


def main(master: str, folder: Path) -> dict[str, Any]:
    spark = session(master, workers=3, conf=CONF)
    seen: dict[str, Any] = {"devices": [one.decode() for one in run_gang(spark, device, 3, run_id="g", attempt=1)]}
    seen["tasks"] = sorted({one.decode() for one in run_tasks(spark, address, range(3))})
    seen["too many"] = refusal(TooFewSlots, lambda: run_gang(spark, device, 4, run_id="g", attempt=2))
    data = write_line(str(folder / "data")).url
    config = RunConfig(batch_size=32, max_steps=5, eval_every="off")
    seen["refused"] = refusal(EchelonError, lambda: fit(Line(), data, config, workers=2, run=folder / "refused"))
    run = fit(Line(), data, replace(config, device="cpu"), workers=2, run=folder / "run")
    seen["trained on"] = [event["device"] for event in run.events() if event["kind"] == "start"]
    seen["evaluated"] = run.evaluate(data, split="test", workers=2).rows
    spark.stop()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
