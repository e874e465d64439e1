"""The beginning of a server: its model, the newest checkpoint, and what is left to do."""

from __future__ import annotations

from pathlib import Path

import torch

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.plan import block_rows_of, steps_in_epoch
from echelon.errors import EchelonError
from echelon.server.conductor import Conductor
from echelon.server.course import Course, progress_of
from echelon.server.leases import Leases, Reached
from echelon.server.state import GlobalState, Tensors, kinds_of
from echelon.server.streams import lanes_of_streams
from echelon.sync.server import ParameterServer
from echelon.train.checkpoint import newest_whole
from echelon.train.events import EventLog
from echelon.train.progress import Progress
from echelon.train.restore import check_resumable, order_facts
from echelon.train.run import RunFolder
from echelon.train.snapshot import load_model, model_tensors
from echelon.train.stopping import last_step
from echelon.train.worker import SPLIT, Job, check_stoppable, check_trainable

COPIES = 8
"""Copies of the model that the server may hold: its own, one of each version that is sent, evaluated and stored, what
is written of it, and two of a change that comes in."""


def open_server(job: Job, dataset: Dataset, log: EventLog, attempt: int, workers: int) -> Conductor:
    """A server that goes on from the newest checkpoint of the run, if there is one.

    Args:
        job: its strategy is a ParameterServer. workers: as many streams as these are made for a new run; a run that
            goes on keeps its streams, whatever the number of workers now.

    Raises:
        EchelonError: there are no rows to train on, the checkpoint is of another training, or memory is short.
    """
    strategy, config = job.strategy, job.config
    assert isinstance(strategy, ParameterServer)
    check_trainable(dataset)
    check_stoppable(job, dataset)
    torch.manual_seed(config.seed)
    model = job.learner.model()
    job.learner.initialise(model, dataset)
    checkpoint, damage = newest_whole(RunFolder(job.run))
    facts = {**order_facts(dataset, config), "block_rows": _block_rows(job, dataset)}
    progress, reached = Progress(), tuple([Reached()] * workers)
    if checkpoint is not None:
        check_resumable(checkpoint, strategy, facts)
        load_model(model, checkpoint.model())
        progress, reached = progress_of(checkpoint.state)
    lanes_of_streams(config.resolved_lanes, len(reached))
    tensors = model_tensors(model)
    require_memory(tensors, workers)
    steps = steps_in_epoch(dataset.rows(SPLIT), config.resolved_batch_size)
    course = Course(job, dataset, log, progress, facts, steps, workers, attempt)
    leases = Leases(steps, last_step(config, steps), strategy.sync_every, reached)
    if damage:
        course.remark(damage)
    state = GlobalState(tensors, kinds_of(model))
    return Conductor(job.learner, config, strategy, dataset, state, leases, len(reached), course)


def require_memory(tensors: Tensors, workers: int, meminfo: Path = Path("/proc/meminfo")) -> None:
    """
    Args:
        meminfo: what Linux says of the memory; other systems are not asked.

    Raises:
        EchelonError: the copies of a model that the server needs do not fit; says the numbers.
    """
    model = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    needed = (COPIES + workers) * model
    try:
        available = next(int(line.split()[1]) for line in meminfo.open() if line.startswith("MemAvailable:")) << 10
    except (OSError, StopIteration):
        return
    if needed > available:
        raise EchelonError(
            f"the parameter server needs about {needed / 2**20:.0f} MB for {COPIES + workers} copies of a model of "
            f"{model / 2**20:.0f} MB, but the driver's machine has {available / 2**20:.0f} MB left: "
            "use a machine with more, or another strategy"
        )


def _block_rows(job: Job, dataset: Dataset) -> int:
    return block_rows_of(RowGroups(dataset, SPLIT, job.learner.columns).rows.tolist())
