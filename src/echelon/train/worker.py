"""What one worker of a training does, wherever it was started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from echelon.allocation import kept_memory
from echelon.comm import Comm
from echelon.data.bucketing import Bucketing
from echelon.data.loader import Loader
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.plan import deal
from echelon.denormals import flushed_denormals
from echelon.device import chosen_device, computing_on
from echelon.errors import DataError, EchelonError
from echelon.group import connect
from echelon.sync.protocol import Strategy
from echelon.train.balance import Balance, Cadence, too_coarse
from echelon.train.checkpoint import Checkpoint, folder_of, newest_whole
from echelon.train.compiled import compile_model, require_compiler
from echelon.train.config import RunConfig
from echelon.train.evaluate import evaluation_split, metrics_of
from echelon.train.events import EventLog, NoLog, Tell
from echelon.train.faults import parse_faults, remark_on
from echelon.train.learner import Learner
from echelon.train.loop import Loop, Parts
from echelon.train.precision import check_precision
from echelon.train.profiling import Profile
from echelon.train.progress import Progress
from echelon.train.restore import order_facts, restore
from echelon.train.run import RunFolder
from echelon.train.stopping import check_stopping
from echelon.world import World, threads

START_SECONDS = 30.0
CHECKPOINT_SECONDS = 600.0
SPLIT = "train"


class _Closes(Protocol):
    def close(self) -> None: ...


Closable = TypeVar("Closable", bound=_Closes)


@dataclass(frozen=True)
class Job:
    """A training as it is sent to workers.

    config: resolved for a number of workers. weights: speeds of the workers, which decide their shares of lanes; None
    for equal ones.
    """

    run: str
    dataset: str
    learner: Learner
    strategy: Strategy
    config: RunConfig
    weights: tuple[float, ...] | None = None

    def shares(self, workers: int) -> tuple[range, ...]:
        """The lanes of each rank."""
        return deal(self.config.resolved_lanes, self.weights or [1.0] * workers)


def train_worker(
    world: World, store: dist.Store | None, job: Job, tell: Tell = lambda event: None, interface: str | None = None
) -> Progress:
    """Trains as one rank of a world; every rank returns the same progress.

    Args:
        store: where the ranks meet; None for a world of one. tell: gets rank 0's events as they happen.
        interface: the network interface to use; None lets gloo or NCCL choose.

    Raises:
        EchelonError: the device, its precision or a compiler that the configuration asks for is not here.
    """
    run = RunFolder(job.run)
    dataset = open_dataset(job.dataset)
    world = replace(world, device=chosen_device(job.config.device, world.device))
    with (
        threads(job.config.cpus_per_worker),
        kept_memory(),
        flushed_denormals(),
        computing_on(world.device),
        connect(world, store, interface=interface, seconds=START_SECONDS) as comm,
        _closing(EventLog(run, world.attempt, tell) if world.is_first else NoLog()) as log,
    ):
        return _train(job, run, dataset, comm, log)


def _train(job: Job, run: RunFolder, dataset: Dataset, comm: Comm, log: EventLog | NoLog) -> Progress:
    world = comm.world
    check_trainable(dataset)
    check_stoppable(job, dataset)
    about_precision = check_precision(job.config.precision, world.device)
    if job.config.compile:
        comm.deadline("trying the compiler", job.config.first_step_deadline)
        require_compiler(world.device)
    with (
        _closing(_loader(job, dataset, world)) as loader,
        _closing(Profile(run, job.config.profile if world.is_first else 0)) as profile,
    ):
        torch.manual_seed(job.config.seed)
        model = job.learner.model().to(world.device)
        job.learner.initialise(model, dataset)
        equal_beginning(model, comm)
        optimizer = job.learner.optimizer(model)
        for group in optimizer.param_groups:
            # What rates are factors of; stored with the group, whose "lr" is that of the step of the checkpoint.
            group.setdefault("initial_lr", group["lr"])
        facts = _facts(job, dataset, loader)
        comm.deadline("looking for the newest checkpoint", CHECKPOINT_SECONDS)
        checkpoint, damage = _same_for_all(run, comm)
        progress, kept, remark = Progress(), None, ""
        if checkpoint is not None:
            progress, kept, remark = restore(checkpoint, world, model, optimizer, job.strategy, facts)
        if job.config.compile:
            compile_model(model)
        progress, about_balance = _with_balance(job, progress, world)
        about_faults = remark_on(parse_faults(job.config.fault), world)
        told = [damage, remark, comm.backend.remark, about_precision, about_balance, about_faults]
        remark = "; ".join(filter(None, told))
        epoch, device = progress.step / loader.steps, str(world.device)
        log.add("start", step=progress.step, epoch=epoch, seconds=progress.seconds, workers=world.size, device=device,
                remark=remark)  # fmt: skip
        parts = Parts(
            run, job.learner, model, optimizer, job.strategy, job.config, dataset, loader, facts, log, profile
        )
        return Loop(parts, comm, progress, kept).run()


def _with_balance(job: Job, progress: Progress, world: World) -> tuple[Progress, str]:
    """The progress with the lanes that the workers begin with, should they be dealt again; and a remark or ""."""
    if world.size == 1 or not Cadence.parse(job.config.balance):
        return replace(progress, balance=Balance()), ""
    balance = progress.balance.going_on(job.shares(world.size))
    return replace(progress, balance=balance), too_coarse(job.config.resolved_lanes, world.size)


def check_trainable(dataset: Dataset) -> None:
    """
    Raises:
        DataError: the dataset has no rows to train on.
    """
    if SPLIT not in dataset.splits or not dataset.rows(SPLIT):
        raise DataError(
            f"{dataset.url} has no rows to train on: it needs a split '{SPLIT}', and has {', '.join(dataset.splits)}"
        )


def check_stoppable(job: Job, dataset: Dataset) -> None:
    """Before the first step, which may be hours before the first evaluation."""
    config = job.config
    if config.target is not None or config.patience is not None or config.monitor is not None:
        check_stopping(config, evaluation_split(dataset, config.eval_split), metrics_of(job.learner).keys())


@contextmanager
def _closing(part: Closable) -> Iterator[Closable]:
    """Closes a part at the end; an error that is on its way wins over one of closing, which may be its echo."""
    try:
        yield part
    except BaseException as error:
        try:
            part.close()
        except Exception as second:
            error.add_note(f"and then, while ending: {second}")
        raise
    part.close()


def equal_beginning(model: nn.Module, comm: Comm) -> None:
    """Gives every rank rank 0's parameters and buffers."""
    comm.broadcast([*model.parameters(), *model.buffers()])


def _loader(job: Job, dataset: Dataset, world: World) -> Loader:
    return Loader(
        dataset,
        SPLIT,
        job.learner.columns,
        batch_size=job.config.resolved_batch_size,
        lanes=job.config.resolved_lanes,
        seed=job.config.seed,
        share=job.shares(world.size)[world.rank],
        cache_mb=job.config.cache_mb,
        budget_mb=job.config.memory_mb,
        prefetch=job.config.prefetch,
        readers=job.config.readers,
        bucketing=bucketing_of(job),
    )


def bucketing_of(job: Job) -> Bucketing | None:
    """How rows are sorted by length, if they are.

    Raises:
        EchelonError: it is wanted, but the learner does not say what is long.
    """
    steps, length = job.config.bucket_steps, job.learner.length_column
    if not steps:
        return None
    if length is None:
        raise EchelonError(
            f"--bucket-steps {steps}: {type(job.learner).__name__} does not say by which column its rows are long or "
            "short (Learner.length_column)"
        )
    return Bucketing(steps, length)


def _facts(job: Job, dataset: Dataset, loader: Loader) -> dict[str, Any]:
    """All that fixes which rows each step takes."""
    return {**order_facts(dataset, job.config), "block_rows": loader.block_rows}


def _same_for_all(run: RunFolder, comm: Comm) -> tuple[Checkpoint | None, str]:
    """The newest whole checkpoint as rank 0 sees it, so that all ranks take the same; what is wrong with newer ones."""
    said = b""
    if comm.world.is_first:
        found, damage = newest_whole(run)
        said = json.dumps([damage, *([found.attempt, found.step, found.files] if found else [])]).encode()
    damage, *heard = json.loads(comm.gather_bytes(said)[0])
    if not heard:
        return None, damage
    attempt, step, files = heard
    folder = run.storage.child(folder_of(attempt, step))
    return Checkpoint(folder, attempt, step, {path: (size, digest) for path, (size, digest) in files.items()}), damage
