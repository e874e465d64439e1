"""Trainings in real processes, as a test wants them."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from rank import Kill, Order, main
from torch import Tensor

from echelon.data.manifest import Dataset
from echelon.sync import AllReduce
from echelon.sync.protocol import Strategy
from echelon.train.checkpoint import Checkpoint, newest
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.progress import Progress
from echelon.train.run import Event, RunFolder
from echelon.train.worker import Job
from echelon.world import CPU, World

HANG_SECONDS = 60.0

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch._dynamo", "torchmetrics.classification", "echelon.train.worker"])


@dataclass(frozen=True)
class Outcome:
    """How one rank ended. code: of the process, -9 if it was killed. error, message: of its exception, or ""."""

    code: int
    progress: Progress | None = None
    error: str = ""
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """The rows that all ranks consumed in one global step of one attempt."""

    attempt: int
    epoch: int
    step: int
    rows: tuple[int, ...]


class Training:
    """One run, started any number of times."""

    def __init__(
        self,
        folder: Path,
        dataset: Dataset,
        learner: Learner,
        config: RunConfig,
        strategy: Strategy | None = None,
        weights: tuple[float, ...] | None = None,
    ) -> None:
        self.folder, self.dataset = folder, dataset
        strategy = strategy or AllReduce()
        self.job = Job(str(folder / "run"), dataset.url, learner, strategy, config, weights)
        self.run = RunFolder(self.job.run)

    def start(
        self, workers: int, kill: Kill | None = None, job: Job | None = None, hanging: int | None = None
    ) -> list[Outcome]:
        """Runs all ranks of one attempt to their end; fails if one hangs, but for the one that shall."""
        attempt = self.run.start_attempt()
        folder = self.folder / f"attempt-{attempt}"
        folder.mkdir(parents=True)
        worlds = [World(r, workers, r, workers, self.device(r), socket.gethostname(), attempt) for r in range(workers)]
        ranks = [processes.Process(target=main, args=(Order(w, job or self.job, folder, kill),)) for w in worlds]
        for process in ranks:
            process.start()
        end = time.monotonic() + HANG_SECONDS
        hanging = kill.rank if kill and kill.stop else hanging
        waited = [process for r, process in enumerate(ranks) if r != hanging]
        for process in waited:
            process.join(max(end - time.monotonic(), 0))
        for process in set(ranks) - set(waited):
            process.kill()
            process.join()
        stuck = [rank for rank, process in enumerate(ranks) if process.is_alive()]
        for rank in stuck:
            ranks[rank].kill()
            ranks[rank].join()
        assert not stuck, f"ranks {stuck} hang; they said: {[self.said(attempt, rank) for rank in stuck]}"
        return [_outcome(folder / f"outcome-{r}.json", process.exitcode) for r, process in enumerate(ranks)]

    def device(self, rank: int) -> torch.device:
        """Where a rank computes."""
        return CPU

    def finish(self, workers: int) -> Progress:
        """Starts it and expects that it comes to its end; every rank has the same progress."""
        outcomes = self.start(workers)
        attempt = self.run.newest_attempt()
        assert [o.error for o in outcomes] == [""] * workers, "\n".join(self.said(attempt, r) for r in range(workers))
        assert all(o.progress == outcomes[0].progress for o in outcomes)
        assert outcomes[0].progress is not None
        return outcomes[0].progress

    def said(self, attempt: int, rank: int) -> str:
        """The end of what a rank printed."""
        return (self.folder / f"attempt-{attempt}" / f"output-{rank}.txt").read_text()[-3000:]

    @property
    def checkpoint(self) -> Checkpoint:
        found = newest(self.run)
        assert found is not None
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of the newest checkpoint."""
        return self.checkpoint.model()

    def steps(self) -> list[Step]:
        """What was consumed, in the order of attempts and steps; a step that a killed rank did not end is left out."""
        rows: dict[tuple[int, int, int], list[list[int]]] = defaultdict(list)
        for path in sorted(self.folder.glob("attempt-*/rows-*.jsonl")):
            for line in path.read_text().splitlines():
                step = json.loads(line)
                rows[step["attempt"], step["epoch"], step["step"]].append(step["rows"])
        return [Step(*key, tuple(chain.from_iterable(parts))) for key, parts in sorted(rows.items())]

    def rows_of(self, rank: int) -> list[list[int]]:
        """What one rank consumed in each step."""
        paths = sorted(self.folder.glob(f"attempt-*/rows-{rank}.jsonl"))
        return [json.loads(line)["rows"] for path in paths for line in path.read_text().splitlines()]

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.run.events() if event["kind"] == kind]


def train(folder: Path, dataset: Dataset, learner: Learner, config: RunConfig, strategy: Strategy | None = None,
          workers: int = 2, weights: tuple[float, ...] | None = None) -> Training:  # fmt: skip
    """A training from its beginning to its end."""
    training = Training(folder, dataset, learner, config.resolved(workers), strategy, weights)
    training.finish(workers)
    return training


def _outcome(path: Path, code: int | None) -> Outcome:
    if not path.exists():
        return Outcome(-1 if code is None else code)
    left = json.loads(path.read_text())
    progress = Progress.from_json(left["progress"]) if "progress" in left else None
    return Outcome(code or 0, progress, left.get("error", ""), left.get("message", ""), left["seconds"])
