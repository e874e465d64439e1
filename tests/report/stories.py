"""Run folders as a training leaves them: written by train's own RunFolder and EventLog, with the events of its loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import Any

from echelon.data.manifest import DataFile, Dataset, Manifest, RowGroup
from echelon.data.schema import Column, Schema
from echelon.data.storage import open_storage
from echelon.recipes.images.learner import ImagesLearner
from echelon.sync.allreduce import AllReduce
from echelon.sync.averaging import Averaging
from echelon.train.config import RunConfig
from echelon.train.events import EventLog
from echelon.train.progress import Progress
from echelon.train.results import FINISHED, results_of
from echelon.train.run import RunFolder

CLASSES = ["cat", "dog", "frog", "<b>ship & crew</b>"]
TRAIN_ROWS, TEST_ROWS, BATCH = 8000, 2000, 100
STEPS_PER_EPOCH = TRAIN_ROWS // BATCH
BASELINE = {"accuracy": 0.25}
MODEL_BYTES = 1.2e6


class Story:
    """Writes the folder of one run, attempt by attempt."""

    def __init__(
        self,
        url: str,
        *,
        seed: int = 0,
        epochs: int = 5,
        every: int = 1,
        workers: int = 2,
        metrics: tuple[str, ...] = ("accuracy", "loss"),
        classes: list[str] = CLASSES,
    ) -> None:
        self.folder, self.metrics = RunFolder(url), metrics
        self.strategy = AllReduce() if every == 1 else Averaging(every)
        self.config = RunConfig(epochs=epochs, batch_size=BATCH, seed=seed).resolved(workers)
        self.steps, self.every, self.workers, self.seed = epochs * STEPS_PER_EPOCH, every, workers, seed
        learner = ImagesLearner(classes, [32, 32], self.steps)
        self.folder.create(learner, self.strategy, self.config, _dataset(), workers, recipe="images")

    def attempt(self, begin: int, end: int, *, evaluate_every: int = 40, report_also: Container[int] = ()) -> Progress:
        """Steps begin+1 … end, as the loop tells them; it stops there only if the run is over.

        report_also: steps of reports besides every tenth, as reports come by the clock.
        """
        log = EventLog(self.folder, self.folder.start_attempt(), lambda event: None)
        progress = self.at(begin)
        self._add(log, "start", progress, workers=self.workers, device="cpu", remark="")
        for step in range(begin + 1, end + 1):
            progress = self.at(step)
            if step % 10 == 0 or step in report_also:
                self._add(log, "train", progress, **self._report(progress))
            if evaluate_every and step % evaluate_every == 0:
                self._add(log, "evaluate", progress, split="test", metrics=progress.metrics, baseline=BASELINE)
            if step % 100 == 0:
                # Committed by a thread a little later than the step that it is of.
                late = {"seconds": progress.seconds + 0.4}
                log.add("checkpoint", step=step, epoch=step / STEPS_PER_EPOCH, **late,
                        path=f"checkpoints/00001-{step:09d}", bytes=580_000, took=0.03)  # fmt: skip
        if end == self.steps:
            self._add(log, "stop", progress, reason=f"did {self.config.epochs} epochs")
        log.close()
        return progress

    def lose(self, checkpoint: int, cause: str) -> None:
        """What the driver writes down of an attempt that failed."""
        self.folder.add_event({"kind": "recovery", "step": checkpoint, "epoch": None, "cause": cause,
                               "seconds": self.at(checkpoint).seconds if checkpoint else 0.0,
                               "attempt": self.folder.newest_attempt()})  # fmt: skip

    def finish(self, progress: Progress, state: str = FINISHED, error: str = "") -> None:
        attempts = self.folder.newest_attempt()
        results = results_of(state, progress, steps_per_epoch=STEPS_PER_EPOCH, workers=self.workers,
                             attempts=attempts, error=error)  # fmt: skip
        self.folder.write_results(results)

    def at(self, step: int) -> Progress:
        """The progress at a step: any attempt that comes there tells the same."""
        wait = 0.06 / self.every
        return Progress(
            step=step,
            seconds=step * (0.1 + wait) * (1 + 0.05 * self.seed),
            rows=step * BATCH,
            bytes_sent=step * MODEL_BYTES * 2 * (self.workers - 1) / self.every,
            reading=0.002 * step,
            computing=0.09 * step,
            synchronising=wait * step,
            metrics={name: self.loss(step) + 0.1 if name == "loss" else self.accuracy(step) for name in self.metrics},
            baseline=BASELINE,
            stopped_by=f"did {self.config.epochs} epochs" if step == self.steps else "",
        )

    def accuracy(self, step: int) -> float:
        slower = 1 + 0.15 * math.log10(self.every)
        return 0.25 + 0.45 * (1 - math.exp(-step / (120 * slower))) + 0.01 * math.sin(self.seed + step / 40)

    def loss(self, step: int) -> float:
        return 0.7 + 0.7 * math.exp(-step / 150) + 0.03 * math.sin(step * 1.7 + self.seed)

    def _report(self, progress: Progress) -> dict[str, Any]:
        return {
            "loss": self.loss(progress.step),
            "rate": 0.05 * min(progress.step / 40, 1 - (progress.step - 40) / (self.steps - 30)),
            "rows": progress.rows,
            "rows_per_second": BATCH * progress.step / progress.seconds * (1 + 0.05 * math.sin(progress.step)),
            "bytes_sent": progress.bytes_sent,
            "seconds_reading": progress.reading,
            "seconds_computing": progress.computing,
            "seconds_synchronising": progress.synchronising,
            "last_step": self.steps,
        }

    def _add(self, log: EventLog, kind: str, progress: Progress, **values: Any) -> None:
        log.add(kind, step=progress.step, epoch=progress.step / STEPS_PER_EPOCH, seconds=progress.seconds, **values)


def _dataset() -> Dataset:
    def file(split: str, rows: int) -> DataFile:
        return DataFile(f"split={split}/part-0.parquet", 1000, "0" * 64, (RowGroup(rows, 1000),))

    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    splits = {"train": (file("train", TRAIN_ROWS),), "test": (file("test", TEST_ROWS),)}
    return Dataset(open_storage("/data/cifar"), Manifest(schema, splits))


WriteRun = Callable[..., str]
"""Writes a run that came to its end at once, and returns its URL: (name, **options of Story)."""
