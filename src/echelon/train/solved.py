"""Trainings that are solved at once by one process, in memory, instead of step by step."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn

from echelon.allocation import kept_memory
from echelon.comm import Comm
from echelon.data.manifest import Dataset, open_dataset
from echelon.denormals import flushed_denormals
from echelon.device import chosen_device, computing_on
from echelon.errors import EchelonError
from echelon.group import connect
from echelon.sync.allreduce import AllReduce
from echelon.sync.protocol import Strategy
from echelon.train.checkpoint import Part, commit, folder_of, newest_whole, write_part
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluate, evaluation_split
from echelon.train.events import EventLog
from echelon.train.learner import Learner, describe
from echelon.train.progress import Progress
from echelon.train.restore import order_facts
from echelon.train.run import Event, RunFolder
from echelon.train.snapshot import model_tensors
from echelon.train.worker import START_SECONDS, Job, check_trainable
from echelon.world import single_world, threads

COMMIT_SECONDS = 60.0
USED = frozenset({"seed", "device", "precision", "eval_split", "eval_batch_size", "memory_mb", "cpus_per_worker"})
"""Fields of `RunConfig` that such a training heeds."""

OnStep = Callable[[int, float], None]
"""Called with the number of steps of a solver that are done, from 1 on, and the mean loss of the rows then."""


class SolvedLearner(Learner):
    """A learner that finds its model by a solver of its own, from all training rows in memory.

    A run of it has one worker and no strategy; its steps are those of the solver. All else is as with any learner.
    """

    solved: ClassVar[bool] = True

    @abstractmethod
    def solve(self, model: nn.Module, dataset: Dataset, config: RunConfig, on_step: OnStep) -> str:
        """Gives a new model its weights, from the split "train" of a dataset.

        Returns:
            Why the solver ended, in words.

        Raises:
            EchelonError: the rows do not fit into the memory that the configuration allows.
        """


def check_alone(workers: int, strategy: Strategy) -> None:
    """
    Raises:
        EchelonError: there is more than one worker, or a strategy by which they would agree.
    """
    if strategy != AllReduce():
        raise EchelonError(
            f"this training is solved in the memory of one process, so there is nothing to agree on by {strategy}: "
            "leave --strategy out, or choose to train in steps"
        )
    if workers > 1:
        raise EchelonError(
            f"this training is solved in the memory of one process, so {workers} workers are of no use: leave "
            "--workers out, or choose to train in steps"
        )


def check_heeded(given: Collection[str]) -> None:
    """
    Raises:
        EchelonError: of the fields of `RunConfig` that somebody set, one does nothing here.
    """
    if idle := [f"--{name.replace('_', '-')}" for name in given if name not in USED]:
        raise EchelonError(
            f"{', '.join(idle)}: of no effect on a training that is solved in the memory of one process: leave it out, "
            "or choose to train in steps"
        )


def solve_here(job: Job, attempt: int, on_event: Callable[[Event], None]) -> Progress:
    """Solves a training in this process; what it writes and tells is what `echelon.train.worker` does.

    A run that goes on from its checkpoint is done already, since nothing is written before the end.
    """
    assert isinstance(job.learner, SolvedLearner)
    run, config = RunFolder(job.run), job.config
    world = single_world(attempt)
    world = replace(world, device=chosen_device(config.device, world.device))
    with (
        threads(config.cpus_per_worker),
        kept_memory(),
        flushed_denormals(),
        computing_on(world.device),
        connect(world, None, interface=None, seconds=START_SECONDS) as comm,
    ):
        log = EventLog(run, attempt, on_event)
        try:
            return _Solving(job, job.learner, run, comm, log).progress()
        finally:
            log.close()


class _Solving:
    def __init__(self, job: Job, learner: SolvedLearner, run: RunFolder, comm: Comm, log: EventLog) -> None:
        self._job, self._learner, self._run, self._comm, self._log = job, learner, run, comm, log
        self._begin = time.perf_counter()
        self._done = Progress()

    def progress(self) -> Progress:
        checkpoint, damage = newest_whole(self._run)
        if checkpoint is not None:
            self._done = Progress.from_json(checkpoint.state["progress"])
        self._add("start", workers=1, device=str(self._comm.world.device), remark=damage)
        reason = "it was solved before" if checkpoint is not None else self._solved()
        self._add("stop", reason=reason)
        return replace(self._done, stopped_by=reason)

    def _solved(self) -> str:
        job, dataset = self._job, open_dataset(self._job.dataset)
        check_trainable(dataset)
        torch.manual_seed(job.config.seed)
        model = self._learner.model().to(self._comm.world.device)
        self._learner.initialise(model, dataset)
        rows = dataset.rows("train")
        reason = self._learner.solve(model, dataset, job.config, lambda step, loss: self._step(step, loss, rows))
        self._evaluate(model, dataset)
        self._write(model, dataset, job.strategy)
        return reason

    def _step(self, step: int, loss: float, rows: int) -> None:
        if not math.isfinite(loss):
            raise EchelonError(f"the loss is {loss} after step {step}: features of these rows are not finite or huge")
        seconds = time.perf_counter() - self._begin
        self._done = replace(self._done, step=step, rows=step * rows, seconds=seconds, computing=seconds)
        self._add("train", loss=loss, rate=None, rows=self._done.rows, rows_per_second=self._done.rows / seconds,
                  bytes_sent=0.0, seconds_reading=0.0, seconds_computing=seconds, seconds_synchronising=0.0,
                  last_step=0)  # fmt: skip

    def _evaluate(self, model: nn.Module, dataset: Dataset) -> None:
        config = self._job.config
        split = evaluation_split(dataset, config.eval_split)
        if split is None:
            return
        found = evaluate(self._learner, model, dataset, split, config, self._comm)
        baseline = self._learner.baseline(dataset, split)
        self._done = replace(self._done, metrics=found.metrics, baseline=baseline)
        self._add("evaluate", split=split, metrics=found.metrics, baseline=baseline, arrays=found.arrays)

    def _write(self, model: nn.Module, dataset: Dataset, strategy: Strategy) -> None:
        begin, step = time.perf_counter(), self._done.step
        path = folder_of(self._comm.world.attempt, step)
        folder = self._run.storage.child(path)
        facts = order_facts(dataset, self._job.config)
        state = {"progress": self._done.to_json(), "facts": facts, "ranks": 1, "strategy": describe(strategy)}
        files = write_part(folder, 0, Part({"model": model_tensors(model)}, {"state.json": state}))
        size = commit(folder, files, 1, COMMIT_SECONDS)
        self._add("checkpoint", path=path, bytes=size, took=time.perf_counter() - begin)

    def _add(self, kind: str, **values: Any) -> None:
        self._log.add(kind, step=self._done.step, epoch=float(self._done.step), seconds=self._done.seconds, **values)
