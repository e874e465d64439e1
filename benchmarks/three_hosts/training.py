"""One training on three hosts of a network, each a namespace of this machine with one worker in it.

The workers are processes of their own that meet through a file; no Spark is in the way. `python -m three_hosts.training
ASKED` is one of them: ASKED is the `Worker` as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist
from three_hosts.images import CLASSES
from torch import nn

from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.models.weights import fill_he, fill_zeros
from echelon.sync import AllReduce, Averaging, DiLoCo
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job, train_worker
from echelon.world import World

if TYPE_CHECKING:
    from hosts import Host

HOSTS = 3
ALLREDUCE = "allreduce"
STRATEGIES = [ALLREDUCE, *(f"averaging-{every}" for every in (1, 5, 10, 50)), "diloco-fp32-50", "diloco-int8-50"]
NETWORKS: dict[str, float | None] = {"unshaped": None, "1000": 1000.0, "100": 100.0}
"""Megabits a second."""
TOLD = "told.json"
PYTHON = (sys.executable, "-m", "three_hosts.training")


@dataclass(frozen=True)
class Setting:
    """What is alike for all strategies: from the same seed they begin with the same weights and take the same rows.

    hidden: units of the fully connected layer. rows: of a step on each worker. lr: learning rate, momentum 0.9.
    outer_momentum: of DiLoCo. target: accuracy on the test images. eval_steps: between two evaluations. seconds: most
    of a training. data: where the images come from.
    """

    hidden: int
    rows: int
    lr: float
    outer_momentum: float
    target: float
    eval_steps: int
    seconds: float
    data: str

    def strategy(self, name: str) -> Strategy:
        """By its name: allreduce, averaging-τ or diloco-encoding-H."""
        match name.split("-"):
            case ["allreduce"]:
                return AllReduce()
            case ["averaging", every]:
                return Averaging(int(every))
            case ["diloco", ("fp32" | "int8") as exchange, every]:
                return DiLoCo(int(every), outer_momentum=self.outer_momentum, exchange=exchange)
        raise SystemExit(
            f"there is no strategy {name}: write allreduce, averaging-10, diloco-fp32-50 or diloco-int8-50"
        )


@dataclass(frozen=True)
class Worker:
    """What one process is asked for. steps: to take without evaluations; 0: train until the target or the time."""

    rank: int
    run: str
    dataset: str
    strategy: str
    setting: Setting
    seed: int
    steps: int


@dataclass(frozen=True)
class Point:
    """One evaluation. training: seconds of training until then; whole: with the evaluations before it."""

    step: int
    training: float
    whole: float
    accuracy: float


@dataclass(frozen=True)
class Training:
    """What came of one. sent: bytes that left the hosts, headers included."""

    points: tuple[Point, ...]
    sent: int


@dataclass
class FewUnitsOrMany(ImagesLearner):
    """cifar10_quick with another number of units in its fully connected layer; with 64 it is cifar10_quick itself."""

    hidden: int = 64

    def model(self) -> nn.Module:
        model = super().model()
        if self.hidden != 64:
            *convolutions, before, after = model.net.children()  # type: ignore[union-attr]
            wide, last = nn.Linear(before.in_features, self.hidden), nn.Linear(self.hidden, after.out_features)
            fill_he(wide)
            fill_zeros(last)
            model.net = nn.Sequential(*convolutions, wide, nn.ReLU(), last)
        return model


def train(
    hosts: Sequence[Host], run: Path, dataset: str, setting: Setting, name: str, seed: int = 0, steps: int = 0
) -> Training:
    """One training, a process on each host.

    Raises:
        RuntimeError: a worker failed.
    """
    run.mkdir()
    before = [host.sent() for host in hosts]
    with ExitStack() as stack:
        processes = []
        for rank, host in enumerate(hosts):
            asked = Worker(rank, str(run), dataset, name, setting, seed, steps)
            process = subprocess.Popen([*host.enter, *PYTHON, json.dumps(asdict(asked))], cwd=Path(__file__).parents[1])
            stack.callback(process.kill)
            processes.append(process)
        end = time.monotonic() + 3 * setting.seconds + 120
        codes = [process.wait(max(end - time.monotonic(), 1)) for process in processes]
    if any(codes):
        raise RuntimeError(f"{name}: the workers ended with {codes}")
    sent = sum(host.sent() - earlier for host, earlier in zip(hosts, before, strict=True))
    return Training(points_of(json.loads((run / TOLD).read_text())), sent)


def points_of(told: Sequence[tuple[float, Event]]) -> tuple[Point, ...]:
    """The evaluations among the events of rank 0, each with the moment when it was told.

    An evaluation lies between a "train" event, told once the exchange of its step is done, and its own event. All other
    time after "start" is that of training: steps, and the exchanges of all rounds, the last one too.
    """
    points: list[Point] = []
    begin = reported = training = 0.0
    resumed = 0.0
    for moment, event in told:
        if event["kind"] == "start":
            begin = resumed = moment
        elif event["kind"] == "train":
            reported = moment
        elif event["kind"] == "evaluate":
            training += reported - resumed
            points.append(Point(event["step"], training, reported - begin, event["metrics"]["accuracy"]))
            resumed = moment
    return tuple(points)


def work(asked: Worker) -> None:
    """What one rank does, in its namespace."""
    setting = asked.setting
    told: list[tuple[float, Event]] = []
    learner = FewUnitsOrMany(
        CLASSES, [32, 32], total_steps=1, schedule="constant", lr=setting.lr, init="he", hidden=setting.hidden
    )
    every = f"{setting.eval_steps}steps"
    config = RunConfig(
        epochs=10_000, batch_size=setting.rows * HOSTS, seed=asked.seed, checkpoint_every="off", log_every=every,
        eval_every="off" if asked.steps else every, max_seconds=setting.seconds, max_steps=asked.steps or None,
        target=None if asked.steps else f"accuracy>={setting.target}",
    )  # fmt: skip
    job = Job(asked.run, asked.dataset, learner, setting.strategy(asked.strategy), config.resolved(HOSTS))
    world = World(asked.rank, HOSTS, host=f"host {asked.rank}")
    store = dist.FileStore(f"{asked.run}/store", HOSTS)
    train_worker(world, store, job, lambda event: told.append((time.perf_counter(), event)), interface="eth0")
    if world.is_first:
        RunFolder(asked.run).storage.write_json(TOLD, told)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    work(Worker(**{**given, "setting": Setting(**given["setting"])}))
