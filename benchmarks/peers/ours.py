"""Our side: `echelon.fit` on Parquet files or on a DataFrame of the same rows, in a warm session."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import side
import task
import torch
from pyspark.sql import DataFrame
from torch import nn

import echelon
from echelon.data.batch import Batch
from echelon.spark.session import session
from echelon.sync import AllReduce, Averaging, ParameterServer
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, Loss


@dataclass
class Mlp(Learner):
    """The task's classifier.

    notes: a folder in which each worker writes when it began its first and its last step, and what CPU time it took
    between; a worker of a parameter server, whose steps are not known before, only of the first. last: number of the
    last one.
    """

    rate_of_sgd: float
    notes: str
    last: int

    def __post_init__(self) -> None:
        self._step, self._first, self._cpu = 0, 0.0, 0.0

    def model(self) -> nn.Module:
        arrays = [torch.from_numpy(array) for array in task.initial()]
        layers: list[nn.Module] = []
        for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
            linear = nn.Linear(*weight.shape)
            linear.load_state_dict({"weight": weight.T, "bias": bias})
            layers += [linear, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.rate_of_sgd)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        self._step += 1
        if self._step == 1:
            self._first, self._cpu = time.time(), time.process_time()
        if self._step in (1, self.last):
            noted = (self._first, time.time(), time.process_time() - self._cpu, torch.get_num_threads())
            Path(self.notes, str(os.getpid())).write_text(json.dumps(noted))
        return nn.functional.cross_entropy(model(batch["features"]), batch["label"], reduction="sum"), len(batch)


def start(workers: int) -> dict[str, Any]:
    """Starts the session that all calls use."""
    session(f"local[{workers},8]", workers=workers)
    return {"versions": {name: version(name) for name in ("echelon", "torch", "pyspark")}}


def fit(
    data: str, frame: bool, epochs: int, sync_every: int, asked: dict[str, Any], server: bool = False
) -> dict[str, Any]:
    """One training, from the call to its end.

    Args:
        data: a folder of Parquet files. frame: give them as a DataFrame. sync_every: steps between two averages; 0 for
            AllReduce in every step. server: a parameter server instead, with leases of so many steps.
    """
    wanted = task.Task(**asked)
    strategy: Strategy = Averaging(sync_every) if sync_every else AllReduce()
    if server:
        # Elephas adds changes in full; of an epoch's steps that would be too much for either.
        strategy = ParameterServer(sync_every, scale="full" if sync_every == 1 else "mean")
    config = RunConfig(epochs, batch_size_per_worker=wanted.batch, eval_every="off", cpus_per_worker=wanted.threads)
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.mkdir()
        begin = time.time()
        rows: str | DataFrame = session().read.parquet(data) if frame else data
        learner = Mlp(wanted.rate, str(notes), epochs * wanted.steps)
        run = echelon.fit(learner, rows, config, strategy=strategy, workers=wanted.workers, run=Path(folder, "run"))
        seconds = time.time() - begin
        if recoveries := [event["cause"] for event in run.events() if event["kind"] == "recovery"]:
            raise RuntimeError(f"lost workers on the way, which is not what is measured: {'; '.join(recoveries)}")
        first, last, cpu, threads = zip(*(json.loads(note.read_text()) for note in notes.iterdir()), strict=True)
        state = [value.numpy() for value in run.model().state_dict().values()]
        weights = f"{data}.ours.npz"
        task.save(weights, [array.T for array in state])
        return {
            "seconds": seconds,
            "first_step": max(first) - begin,
            "last_step": None if server else max(last) - begin,
            "cpu_between": None if server else sum(cpu),
            "weights": weights,
            "facts": {
                "rows of an epoch": run.results["rows"] / epochs,
                "steps of an epoch": run.results["steps"] / epochs,
                "workers": len(threads),
                "threads of a worker": max(threads),
            },
        }


if __name__ == "__main__":
    side.serve({"start": start, "fit": fit})
