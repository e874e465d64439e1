"""How torchrun's ranks begin a run together, in a real store of torch.distributed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from echelon.errors import DataError, EchelonError
from echelon.launch.torchrun import attempt_begun, begin_attempt
from echelon.sync.allreduce import AllReduce
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.run import RunFolder
from echelon.train.worker import Job
from echelon.world import World

FIRST, OTHER = World(0, 2), World(1, 2)


def job(folder: Path) -> Job:
    return Job(str(folder), "nowhere", Learner, AllReduce(), RunConfig())


def test_the_others_wait_for_rank_0_and_get_its_attempt(tmp_path: Path) -> None:
    store = dist.HashStore()
    assert RunFolder(str(tmp_path)).start_attempt() == 1, "an earlier one"
    began = time.monotonic()
    beginning = threading.Thread(target=lambda: begin_attempt(job(tmp_path), lambda: time.sleep(0.4), store, FIRST))
    beginning.start()
    assert attempt_begun(store, OTHER) == 2
    assert time.monotonic() - began >= 0.4
    beginning.join()


def test_why_rank_0_cannot_begin_is_told_by_all_at_once(tmp_path: Path) -> None:
    store = dist.HashStore()

    def create() -> None:
        raise DataError("there are no rows")

    with pytest.raises(DataError, match="there are no rows"):
        begin_attempt(job(tmp_path), create, store, FIRST)
    with pytest.raises(EchelonError, match="there are no rows"):
        attempt_begun(store, OTHER)


def test_waiting_ends_with_a_name(tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match=r"rank 1 of 2 .*: rank 0 did not begin the run within 0 s"):
        attempt_begun(dist.HashStore(), OTHER, seconds=0.2)
