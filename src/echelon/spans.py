"""The rows of splits cut into shares, each of which one task works on with the model of a run.

Every task loads the same checkpoint, once, and reads its own rows; what comes back to the driver are metric states or
the description of written files, never rows.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from echelon.allocation import kept_memory
from echelon.data.manifest import Dataset
from echelon.denormals import flushed_denormals
from echelon.device import AUTO, chosen_device, computing_on, default_device
from echelon.driver import Place
from echelon.train.checkpoint import Checkpoint
from echelon.train.config import RunConfig
from echelon.train.evaluate import span_of
from echelon.train.learner import Learner
from echelon.train.precision import autocast, check_precision
from echelon.train.run import RunFolder
from echelon.train.trained import load_trained
from echelon.world import threads


@dataclass(frozen=True)
class Span:
    """Rows [start, end) of a split. number: of the span within its split."""

    split: str
    number: int
    start: int
    end: int


Share = tuple[Span, ...]


@dataclass(frozen=True)
class Work:
    """What every task needs; it is sent to the workers."""

    run: str
    dataset: Dataset
    learner: Learner
    checkpoint: Checkpoint
    config: RunConfig


_END = b"\n"
_SENT, _STORED = b"s", b"f"
_MOST_SENT = 16 << 20
"""Bytes that a task of Spark answers with; of all tasks a driver takes 1 GB (spark.driver.maxResultSize)."""
_log = logging.getLogger(__name__)

Use = Callable[[Work, nn.Module, Share], bytes]


def shares_of(dataset: Dataset, splits: Sequence[str], place: Place) -> list[Share]:
    """Shares that together hold each row once: one in this process, on Spark up to one for each worker.

    A share has a span of each split that has a row for it. No share and no span is empty.
    """
    parts = place.workers if place.on_spark else 1
    shares: list[list[Span]] = [[] for _ in range(parts)]
    for split in splits:
        rows = dataset.rows(split)
        count = min(parts, rows)
        for number in range(count):
            shares[number].append(Span(split, number, *span_of(rows, number, count)))
    return [tuple(share) for share in shares if share]


def over(place: Place, work: Work, use: Use, shares: Sequence[Share]) -> list[bytes]:
    """What is made of the shares, in their order."""
    if place.on_spark:
        answers = _by_tasks(place, work, use, shares)
    else:
        device = device_here(work.config)
        answers = [_on(device, work, use, share) for share in shares]
    told = [answer.partition(_END) for answer in answers]
    for remark in sorted({remark for remark, _, _ in told if remark}):
        _log.warning("%s", remark.decode())
    return [made for _, _, made in told]


def device_here(config: RunConfig) -> torch.device:
    """What this process uses a run's model on."""
    return chosen_device(_wanted(config), default_device())


@contextmanager
def computing(config: RunConfig, device: torch.device) -> Iterator[str]:
    """For the length of the block torch computes as it is asked to; what the user should know of it, or "".

    Autocast is around all batches: its copies of the weights are made once, not for each of them.
    """
    remark = check_precision(config.precision, device)
    with (
        threads(config.cpus_per_worker),
        kept_memory(),
        flushed_denormals(),
        computing_on(device),
        autocast(config.precision, device),
    ):
        yield remark


def _on(device: torch.device, work: Work, use: Use, share: Share) -> bytes:
    """The model is loaded, then used for a share. Before what is made of it stands what the user should know."""
    with computing(work.config, device) as remark:
        trained = load_trained(RunFolder(work.run), work.learner, work.checkpoint, device)
        return remark.encode() + _END + use(work, trained.model, share)


def _by_tasks(place: Place, work: Work, use: Use, shares: Sequence[Share]) -> list[bytes]:
    """By tasks of Spark. Long answers come by way of the run's folder, from which the tasks have the model too."""
    from echelon.spark.job import run_tasks
    from echelon.spark.session import session

    storage, home = RunFolder(work.run).storage, f"scratch/{uuid.uuid4().hex}"
    try:
        answers = run_tasks(
            session(place.master, place.workers, place.conf, gang=False), _Task(work, use, home), shares
        )
        return [storage.read(answer[1:].decode()) if answer.startswith(_STORED) else answer[1:] for answer in answers]
    finally:
        storage.delete_tree(home)


@dataclass(frozen=True)
class _Task:
    """What is made of a share in a task of Spark. home: the folder for long answers, within that of the run."""

    work: Work
    use: Use
    home: str

    def __call__(self, share: Share) -> bytes:
        from echelon.spark.device import task_device

        with task_device(_wanted(self.work.config)) as device:
            answer = _on(device, self.work, self.use, share)
        if len(answer) <= _MOST_SENT:
            return _SENT + answer
        path = f"{self.home}/{uuid.uuid4().hex}"
        RunFolder(self.work.run).storage.write(path, answer)
        return _STORED + path.encode()


def _wanted(config: RunConfig) -> str:
    """A run that was trained on a GPU can be used where there is none."""
    return "cpu" if config.device == "cpu" else AUTO
