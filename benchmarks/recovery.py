"""From a loss to the next step: a Python worker, an executor, a whole worker of Spark, a link.

    python benchmarks/recovery.py

A standalone cluster of three hosts, each a network namespace of this machine, trains with a worker on each of two (all
three where a link is cut). From kill -9, or from the moment when the link goes down, to the first step of the next
attempt. Limits: 10 s for a Python worker, 10 s for an executor, 35 s for a host that is cut off; medians count. Needs
root; not measured without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
from measured import Outcome, told

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "spark"))
from cluster import Cluster, cluster_on
from distant import Order, started
from hosts import NoNetwork, hosts_apart
from spark_learners import write_line

HOSTS = 3
LIMITS: dict[str, float | None] = {
    "Python worker killed": 10.0,
    "executor killed": 10.0,
    "Spark's worker and executor killed": None,
    "link cut": 35.0,
}


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def losses(cluster: Cluster) -> dict[str, Callable[[int], None]]:
    """What is done to a host."""
    ways: list[Callable[[int], None]] = [
        lambda number: kill(cluster.pythons(number)),
        lambda number: kill(cluster.executors(number)),
        lambda number: kill(cluster.tree(number)),
        lambda number: cluster.host(number).cut(),
    ]
    return dict(zip(LIMITS, ways, strict=True))


def seconds_to_next_step(cluster: Cluster, order: Order, lose: Callable[[int], None]) -> float:
    cluster.heal()
    with started(order) as driver:
        driver.wait_for("checkpoint", step=20)
        number = [number for number in range(HOSTS) if cluster.pythons(number)][-1]
        lost = time.time()
        lose(number)
        again = driver.wait_for("train", attempt=2)["at"]
        driver.finish()
    return again - lost


def measured(folder: Path, rounds: int, found: dict[str, list[float]]) -> None:
    """Adds the seconds of each loss.

    Raises:
        NoNetwork: there can be no hosts apart here.
    """
    with hosts_apart(HOSTS) as network, cluster_on(folder, HOSTS, 1, network) as cluster:
        line = write_line(str(folder / "line")).url
        order = Order(folder, line, cluster.url, network.driver.address, config={"epochs": 10})
        for number in range(rounds):
            for loss, (name, lose) in enumerate(losses(cluster).items()):
                workers = HOSTS if name == "link cut" else HOSTS - 1
                one = replace(order, folder=folder / f"run-{number}-{loss}", workers=workers)
                found[name].append(seconds_to_next_step(cluster, one, lose))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of each loss")
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {name: [] for name in LIMITS}
    why = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            measured(Path(folder), rounds, found)
        except NoNetwork as error:
            why = str(error)
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    return told(f"From a loss to the next step, a standalone cluster of {HOSTS} hosts ({load})", [
        Outcome(name, statistics.median(seconds) if seconds else None, LIMITS[name], at_least=False, unit=" s",
                rest=why or ", ".join(f"{each:.1f}" for each in seconds))
        for name, seconds in found.items()
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
