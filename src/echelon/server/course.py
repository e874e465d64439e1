"""How far an asynchronous training has come: counted, told and stored; and what is due.

The counterpart of `echelon.train.loop`, whose boundaries are here the moments at which a change was applied.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from echelon.data.manifest import Dataset
from echelon.server.leases import Reached
from echelon.server.state import Tensors
from echelon.sync.protocol import Tally
from echelon.train.checkpoint import Part
from echelon.train.evaluate import Measured, evaluation_split
from echelon.train.events import EventLog
from echelon.train.every import Every
from echelon.train.learner import describe
from echelon.train.progress import Progress
from echelon.train.run import RunFolder
from echelon.train.sampled import SampleMaker
from echelon.train.stopping import last_step
from echelon.train.worker import Job
from echelon.train.writer import CheckpointWriter
from echelon.world import World

SERVER = "server"
"""The key of the position of the streams in a checkpoint's state."""


class Course:
    """For one thread at a time. Steps are global ones: a step of each of the streams.

    steps: of an epoch. last: of the run. split: to evaluate on, or None.
    """

    def __init__(
        self, job: Job, dataset: Dataset, log: EventLog, progress: Progress, facts: dict[str, Any], steps: int,
        workers: int, attempt: int,
    ) -> None:  # fmt: skip
        config = job.config
        self.progress, self.steps, self.last = progress, steps, last_step(config, steps)
        self.split = evaluation_split(dataset, config.eval_split) if Every.parse(config.eval_every).count else None
        self._job, self._log, self._facts, self._workers = job, log, facts, workers
        self._begin: float | None = None
        self._reported = self._saved = self._evaluated = progress
        self._since = Tally()
        self._rate = 0.0
        self._staleness = self._changes = 0
        self._evaluate_every = Every.parse(config.eval_every)
        self._checkpoint_every = Every.parse(config.checkpoint_every)
        self._report_every = Every.parse(config.log_every)
        self._writer = CheckpointWriter(
            RunFolder(job.run), World(attempt=attempt), config.keep_checkpoints, self._committed, self._remarked
        )
        self._samples = SampleMaker(RunFolder(job.run), job.learner, attempt, self._sampled, self._remarked)

    def begin(self) -> None:
        """The first worker is here: the clock of the training runs."""
        if self._begin is None:
            self._begin = time.perf_counter() - self.progress.seconds

    @property
    def seconds(self) -> float:
        """Of training, over all attempts."""
        return time.perf_counter() - self._begin if self._begin is not None else self.progress.seconds

    def advance(self, step: int, tally: Tally, rate: float, staleness: int) -> None:
        """A change was applied.

        step: done since the beginning of the run. rate: the learning rate of its last step.
        """
        self.progress = self.progress.after(step, replace(tally, seconds=self.seconds), self._workers)
        self._since += tally
        self._rate = rate
        self._staleness, self._changes = self._staleness + staleness, self._changes + 1
        self.report()

    def sent(self, count: int) -> None:
        """So many bytes have travelled."""
        self.progress = replace(self.progress, bytes_sent=self.progress.bytes_sent + count)

    @property
    def reason(self) -> str:
        """Why to stop, or ""."""
        config, progress = self._job.config, self.progress
        if progress.step >= self.last:
            return self._did()
        if reason := progress.stopping.reason(config, progress.metrics):
            return reason
        limit = config.max_seconds
        return f"trained for {limit:g} s" if limit is not None and self.seconds >= limit else ""

    @property
    def evaluation_due(self) -> bool:
        return self.split is not None and self._due(self._evaluate_every, self._evaluated)

    def evaluating(self) -> None:
        """An evaluation of now has begun."""
        self._evaluated = replace(self.progress, seconds=self.seconds)
        self.report(now=True)

    def evaluated(self, step: int, found: Measured, baseline: dict[str, float], tensors: Tensors) -> None:
        """An evaluation of tensors that nothing changes came to its end."""
        metrics = found.metrics
        stopping = self.progress.stopping.after_evaluation(self._job.config, metrics)
        self.progress = replace(self.progress, metrics=metrics, baseline=baseline, stopping=stopping)
        self._add("evaluate", step=step, split=self.split, metrics=metrics, baseline=baseline, arrays=found.arrays)
        self._samples.begin(step, tensors)

    @property
    def checkpoint_due(self) -> bool:
        return self._due(self._checkpoint_every, self._saved) and not self._writer.busy

    def write(self, tensors: Tensors, reached: tuple[Reached, ...]) -> None:
        """Begins to write a checkpoint of tensors that nothing changes, and of what the streams have reached."""
        self.progress = self._saved = replace(self.progress, seconds=self.seconds)
        state = {
            "progress": self.progress.to_json(),
            "facts": self._facts,
            "ranks": self._workers,
            "strategy": describe(self._job.strategy),
            SERVER: {"reached": [one.to_json() for one in reached]},
        }
        self._writer.write(self.progress.step, Part({"model": tensors}, {"state.json": state}), parts=1)

    @property
    def writing(self) -> bool:
        """Whether a checkpoint is being written.

        Raises:
            StorageError: the one before could not be.
        """
        self._writer.check()
        return self._writer.busy

    @property
    def sampling(self) -> bool:
        """At the end of the training, whether something that is shown of it is still to be waited for."""
        return not self._samples.finished

    def stopped(self, reason: str) -> None:
        """The training is over, and all is written."""
        self._writer.wait()
        self._add("stop", reason=reason)
        self.progress = replace(self.progress, stopped_by=reason)

    def started(self, device: str, remark: str) -> None:
        self._add("start", workers=self._workers, device=device, remark=remark)

    def remark(self, text: str) -> None:
        self._add("remark", text=text)

    def report(self, now: bool = False) -> None:
        """Tells the mean loss and the speed since the last report, if it is time or asked for."""
        progress, before, since = self.progress, self._reported, self._since
        span = ((before.step, progress.step), self.steps, (before.seconds, progress.seconds))
        if not self._changes or not (now or self._report_every.due(*span)):
            return
        self._add(
            "train",
            loss=since.loss / since.weight if since.weight else None,
            rate=self._rate,
            **progress.told(before),
            last_step=self.last,
            staleness=self._staleness / self._changes,
        )
        self._reported, self._since = progress, Tally()
        self._staleness = self._changes = 0

    def _due(self, every: Every, before: Progress) -> bool:
        return every.due((before.step, self.progress.step), self.steps, (before.seconds, self.seconds))

    def _did(self) -> str:
        epochs = self._job.config.epochs
        if self.last < epochs * self.steps:
            return f"did {self.last} steps"
        return f"did {epochs} epoch{'s' if epochs > 1 else ''}"

    def _committed(self, step: int, path: str, size: int, took: float) -> None:
        self._add("checkpoint", step=step, path=path, bytes=size, took=took)

    def _sampled(self, step: int, path: str, took: float) -> None:
        self._add("sample", step=step, path=path, took=took)

    def _remarked(self, step: int, text: str) -> None:
        self._add("remark", step=step, text=text)

    def _add(self, kind: str, step: int | None = None, **values: Any) -> None:
        at = self.progress.step if step is None else step
        self._log.add(kind, step=at, epoch=at / self.steps, seconds=self.seconds, **values)


def progress_of(state: dict[str, Any]) -> tuple[Progress, tuple[Reached, ...]]:
    """What a checkpoint's state says of the run and of its streams."""
    return Progress.from_json(state["progress"]), tuple(Reached.from_json(v) for v in state[SERVER]["reached"])
