"""Which of several errors is raised: the one that the others follow from."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from gang import Training, processes
from learners import Linear
from rank import seed_process
from torch import nn

from echelon.data.batch import Batch
from echelon.data.manifest import Dataset
from echelon.errors import StorageError
from echelon.launch.torchrun import train_as_rank
from echelon.train.config import RunConfig
from echelon.train.events import EventLog
from echelon.train.learner import Loss
from echelon.train.profiling import Profile
from echelon.train.worker import Job, train_worker
from echelon.world import World

CONFIG = RunConfig(epochs=1, batch_size=24, lanes=8, eval_every="off", checkpoint_every="off")


@dataclass(frozen=True)
class FailsOnRank(Linear):
    """Raises on one of torchrun's ranks."""

    rank: int = 1

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        if os.environ["RANK"] == str(self.rank):
            raise ValueError("the user's own fault")
        return super().loss(model, batch)


def as_torchrun_starts_it(job: Job, rank: int, size: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}  # fmt: skip
    seed_process(rank)
    try:
        train_as_rank(job, lambda: None, lambda event: None)
    except Exception as error:
        (folder / f"{rank}.json").write_text(json.dumps([type(error).__name__, str(error)]))


def test_rank_0_learns_why_another_failed(tmp_path: Path, dataset: Dataset) -> None:
    training = Training(tmp_path, dataset, FailsOnRank(), CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        processes.Process(target=as_torchrun_starts_it, args=(training.job, rank, 3, port, tmp_path))
        for rank in range(3)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    kinds, messages = zip(*(json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)), strict=True)
    assert kinds[:2] == ("WorkerFailed", "ValueError")
    assert messages[0].startswith("rank 1 on")
    assert "ValueError: the user's own fault" in messages[0]


@pytest.mark.parametrize("owner", [EventLog, Profile])
def test_an_error_wins_over_one_of_ending(
    tmp_path: Path, dataset: Dataset, owner: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = owner.close

    def close_and_fail(part: object) -> None:
        close(part)
        raise StorageError("the disk is full")

    monkeypatch.setattr(owner, "close", close_and_fail)
    job = Training(tmp_path, dataset, Linear(fail_at=100), CONFIG).job
    with pytest.raises(ArithmeticError, match="row 100") as raised:
        train_worker(World(), None, job)
    assert any("the disk is full" in note for note in raised.value.__notes__)
    job = Training(tmp_path / "whole", dataset, Linear(), CONFIG).job
    with pytest.raises(StorageError, match="the disk is full"):
        train_worker(World(), None, job)
