"""From a loss to the next step: a Python worker, an executor, a whole worker of Spark, a link; and how fast a parameter
server's other workers go on meanwhile.

    python benchmarks/recovery.py

A standalone cluster of three hosts, each a network namespace of this machine, trains with a worker on each of two (all
three where a link is cut). From kill -9, or from the moment when the link goes down, to the first step of the next
attempt. Limits: 10 s for a Python worker, 10 s for an executor, 35 s for a host that is cut off; medians count. Needs
root; not measured without.

Asynchronous training waits for nobody: three workers whose steps take a tenth of a second each should do two thirds of
their rows a second while the executor of one is dead and started again. Limit: 0.6.
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
DEAD, PAUSE = "asynchronous, one of three dead: rows/s of before", 0.1
BEFORE, WHILE, REMAIN = 5.0, 4.0, 0.6
"""Seconds that are looked at; a new executor takes longer than the second. The limit."""


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


def left_of_the_rate(cluster: Cluster, order: Order) -> float:
    """Rows a second of a parameter server after the loss of an executor, beside those before."""
    cluster.heal()
    with started(replace(order, workers=HOSTS, server=True, learner={"pause": PAUSE})) as driver:
        driver.wait_for("train", step=20)
        time.sleep(BEFORE)
        lost = time.time()
        kill(cluster.executors(0))
        time.sleep(WHILE)
        rows = [(event["at"], event["rows"]) for event in driver.events("train")]
        driver.process.terminate()
        driver.process.wait(60)
    spans = ((lost - BEFORE, lost), (lost, lost + WHILE))
    before, after = (_rate([one for one in rows if start <= one[0] <= end]) for start, end in spans)
    return after / before


def _rate(rows: list[tuple[float, int]]) -> float:
    (start, first), (end, last) = rows[0], rows[-1]
    return (last - first) / (end - start)


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
            apart = replace(order, folder=folder / f"run-{number}-server", config={"epochs": 100})
            found[DEAD].append(left_of_the_rate(cluster, apart))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of each loss")
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {name: [] for name in (*LIMITS, DEAD)}
    why = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            measured(Path(folder), rounds, found)
        except NoNetwork as error:
            why = str(error)
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    return told(f"From a loss to the next step, a standalone cluster of {HOSTS} hosts ({load})", [
        *(Outcome(name, _median(found[name]), limit, at_least=False, unit=" s",
                  rest=why or ", ".join(f"{each:.1f}" for each in found[name])) for name, limit in LIMITS.items()),
        Outcome(DEAD, _median(found[DEAD]), REMAIN, rest=why or ", ".join(f"{each:.2f}" for each in found[DEAD])),
    ])  # fmt: skip


def _median(found: list[float]) -> float | None:
    return statistics.median(found) if found else None


if __name__ == "__main__":
    sys.exit(main())
