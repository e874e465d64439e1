"""SparkNet's question: how long to a target accuracy, by how often workers agree and how fast their network is.

    python benchmarks/bandwidth.py                       # every strategy on three networks
    python benchmarks/bandwidth.py --networks 100 --strategies allreduce,averaging-10 --seconds 60

Three hosts, each a network namespace of this machine with one worker in it, train cifar10_quick with AllReduce, with
Averaging every 1, 5, 10 and 50 steps and with DiLoCo in fp32 and int8; unshaped, at 1 Gbit/s and at 100 Mbit/s in each
direction. The workers are processes of their own that meet through a file; no Spark is in the way. The clock is that of
training, evaluations included; bytes are those that left the hosts by the counters of their links, headers included.

Limit: at 100 Mbit/s the best strategy reaches the target at least 8 times as soon as AllReduce. If AllReduce does not
reach it within --seconds, that time counts for it, which is less than its own.

The data are the batches of CIFAR-10 in --data, or made images. Needs root; not measured without.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch.distributed as dist
from measured import Outcome, console, told
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "spark"))
from hosts import Host, NoNetwork, hosts_apart

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.cifar import read_binary
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.made import made_images
from echelon.sync import AllReduce, Averaging, DiLoCo
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job, train_worker
from echelon.world import World

HOSTS, LIMIT = 3, 8.0
CLASSES = [str(label) for label in range(10)]
STRATEGIES: dict[str, Strategy] = {
    "allreduce": AllReduce(),
    **{f"averaging-{every}": Averaging(every) for every in (1, 5, 10, 50)},
    "diloco-fp32": DiLoCo(50),
    "diloco-int8": DiLoCo(50, exchange="int8"),
}
NETWORKS: dict[str, float | None] = {"unshaped": None, "1000": 1000.0, "100": 100.0}
"""Megabits a second."""


@dataclass(frozen=True)
class Found:
    """One training. seconds: to the target, or all that it had, if it did not reach it. sent: bytes, of all hosts."""

    strategy: str
    network: str
    reached: bool
    seconds: float
    steps: int
    accuracy: float
    sent: int


def write_images(url: str, data: Path | None) -> str:
    """CIFAR-10's batches, or made images, as a dataset; its URL."""
    if data is not None:
        names = sorted(data.glob("data_batch_*.bin"))
        parts = {"train": [read_binary(path.read_bytes(), path.name) for path in names]}
        parts["test"] = [read_binary((data / "test_batch.bin").read_bytes(), "test_batch.bin")]
    else:
        parts = {"train": [made_images(20_000, 10)], "test": [made_images(600, 10, seed=1)]}
    mean = np.mean([images.mean(0) for images, _ in parts["train"]], axis=0, dtype=np.float32)
    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    rows = {
        split: [{"image": images, "label": given.astype(np.int64)} for images, given in batches]
        for split, batches in parts.items()
    }
    labels = {split: np.concatenate([given for _, given in batches]) for split, batches in parts.items()}
    counts = {split: {name: int((given == int(name)).sum()) for name in CLASSES} for split, given in labels.items()}
    return write_dataset(url, schema, rows, info={"counts": counts}, assets={"mean": mean}).url


def job_of(asked: argparse.Namespace, run: str, dataset: str, strategy: str) -> Job:
    learner = ImagesLearner(CLASSES, [32, 32], total_steps=1, schedule="constant", lr=asked.lr, init="he")
    config = RunConfig(
        epochs=10_000, batch_size=asked.rows * HOSTS, eval_every=f"{asked.eval_steps}steps", checkpoint_every="off",
        log_every=f"{asked.eval_steps}steps", target=f"accuracy>={asked.target}", max_seconds=asked.seconds,
    )  # fmt: skip
    return Job(run, dataset, learner, STRATEGIES[strategy], config.resolved(HOSTS))


def train(asked: argparse.Namespace, hosts: Sequence[Host], folder: Path, dataset: str, name: str, net: str) -> Found:
    """One training, a process on each host."""
    run = folder / f"{name}-{net}"
    run.mkdir()
    for host in hosts:
        host.shape(NETWORKS[net])
    before = [host.sent() for host in hosts]
    with ExitStack() as stack:
        processes = []
        for rank, host in enumerate(hosts):
            given = [*sys.argv[1:], "--rank", str(rank), "--run", str(run), "--dataset", dataset, "--strategies", name]
            process = subprocess.Popen([*host.enter, sys.executable, __file__, *given])
            stack.callback(process.kill)
            processes.append(process)
        end = time.monotonic() + 3 * asked.seconds + 120
        codes = [process.wait(max(end - time.monotonic(), 1)) for process in processes]
    if any(codes):
        raise RuntimeError(f"{name} at {net}: the workers ended with {codes}")
    sent = sum(host.sent() - earlier for host, earlier in zip(hosts, before, strict=True))
    events = json.loads((run / "told.json").read_text())
    seen = [(event["metrics"]["accuracy"], event["seconds"], event["step"]) for event in events if "metrics" in event]
    accuracy, seconds, steps = next((each for each in seen if each[0] >= asked.target), seen[-1])
    return Found(name, net, accuracy >= asked.target, seconds, steps, accuracy, sent)


def work(asked: argparse.Namespace) -> None:
    """What one rank does, in its namespace."""
    told_by_rank: list[Event] = []
    (name,) = asked.strategies.split(",")
    world = World(asked.rank, HOSTS, host=f"host {asked.rank}")
    store = dist.FileStore(f"{asked.run}/store", HOSTS)
    train_worker(world, store, job_of(asked, asked.run, asked.dataset, name), told_by_rank.append, interface="eth0")
    if world.is_first:
        RunFolder(asked.run).storage.write_json("told.json", told_by_rank)


def plot(found: Sequence[Found], path: str) -> None:
    """Seconds to the target by network, a group of bars for each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    networks, names = list(dict.fromkeys(f.network for f in found)), list(dict.fromkeys(f.strategy for f in found))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        here = {each.network: each for each in found if each.strategy == name}
        places = [place + number * width - 0.4 for place in range(len(networks))]
        bars = axes.bar(places, [here[net].seconds for net in networks], width, align="edge", label=name)
        axes.bar_label(bars, ["" if here[net].reached else "not reached" for net in networks], rotation=90, fontsize=6)
    axes.set_xticks(range(len(networks)), [net if net == "unshaped" else f"{net} Mbit/s" for net in networks])
    axes.set_yscale("log")
    axes.set_ylabel("seconds to the target accuracy")
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path)


def show(found: Sequence[Found]) -> None:
    table = Table("strategy", "network", "to the target", "steps", "accuracy", "sent", title="Time to the target")
    for each in found:
        seconds = f"{each.seconds:.1f} s" if each.reached else f"not within {each.seconds:.0f} s"
        table.add_row(each.strategy, each.network, seconds, str(each.steps), f"{each.accuracy:.3f}",
                      f"{each.sent / 1e6:.1f} MB")  # fmt: skip
    console().print(table)


def outcomes(found: Sequence[Found], why: str) -> list[Outcome]:
    slow = [each for each in found if each.network == "100"]
    base = next((each for each in slow if each.strategy == "allreduce"), None)
    best = min((e for e in slow if e.reached and e is not base), key=lambda e: e.seconds, default=None)
    gain = base.seconds / best.seconds if base and best else None
    rest = f"{best.strategy} {best.seconds:.1f} s, AllReduce {base.seconds:.1f} s" if base and best else why
    return [Outcome("at 100 Mbit/s: AllReduce / the best", gain, LIMIT, unit=" ×", rest=rest)]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data_batch_1.bin … (default: made images)")
    parser.add_argument("--target", type=float, default=0.9, help="accuracy on the test images")
    parser.add_argument("--rows", type=int, default=8, help="of a step on each worker")
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--eval-steps", type=int, default=50, help="steps between two evaluations")
    parser.add_argument("--seconds", type=float, default=60.0, help="most of each training")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--json", help="file for what was found")
    parser.add_argument("--plot", help="file for the plot (.png, .svg)")
    for name, kind in (("--rank", int), ("--run", str), ("--dataset", str)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    asked, found, why = parsed(), [], "AllReduce or any other was not measured there, or none reached the target"
    if asked.rank is not None:
        work(asked)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_images(f"{folder}/data", asked.data)
        try:
            with hosts_apart(HOSTS) as network:
                for net in asked.networks.split(","):
                    for name in asked.strategies.split(","):
                        found.append(train(asked, network.hosts, Path(folder), dataset, name, net))
        except NoNetwork as error:
            why = str(error)
    show(found)
    if asked.json:
        Path(asked.json).write_text(json.dumps([asdict(each) for each in found], indent=1))
    if asked.plot and found:
        plot(found, asked.plot)
    load = f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"
    return told(f"Three hosts and their network ({load})", outcomes(found, why))


if __name__ == "__main__":
    sys.exit(main())
