"""Whatever dies, hangs or is repeated: every row is applied once in every epoch."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from counted import ROWS, TEST_ROWS, Counting
from servers import HANG_SECONDS, counts, finish, order, processes, served, server_process, work, world

from echelon.data.manifest import Dataset
from echelon.server.client import Client
from echelon.server.leases import Outcome
from echelon.server.orders import Joining, Order, Train
from echelon.server.state import Tensors
from echelon.server.wire import Header
from echelon.server.worker import work_for
from echelon.sync.protocol import Tally
from echelon.sync.server import ParameterServer
from echelon.train.config import RunConfig

QUIET = {"eval_every": "off", "checkpoint_every": "off"}


class Killed(BaseException):
    """What a process that is killed leaves behind: nothing, not even a word."""


class Dying(Client):
    """Dies after a push has left, before its acknowledgement is read."""

    def _receive(self, number: int, seconds: float) -> tuple[Header, Tensors] | None:
        reply = super()._receive(number, seconds)
        if self.pushing:
            raise Killed
        return reply

    def exchange(self, *args: Any) -> Order:
        self.pushing = True
        return super().exchange(*args)

    pushing = False


class Deaf(Client):
    """Loses the first answer to each push."""

    lost = -1

    def _receive(self, number: int, seconds: float) -> tuple[Header, Tensors] | None:
        reply = super()._receive(number, seconds)
        if self.pushing and self.lost != number:
            self.lost = number
            return None
        return reply

    def exchange(self, *args: Any) -> Order:
        self.pushing = True
        try:
            return super().exchange(*args)
        finally:
            self.pushing = False

    pushing = False


@pytest.mark.parametrize("epochs", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_workers_killed_before_the_acknowledgement_of_each_push_apply_each_row_once(
    tmp_path: Path, numbered: Dataset, epochs: int
) -> None:
    """Twenty times, and two hundred times."""
    deaths = 0
    config = RunConfig(epochs=epochs, batch_size=20, **QUIET)
    job = order(tmp_path / "run", numbered, config, strategy=ParameterServer(1))
    with served(job, numbered) as server:
        while not server.conductor.ended:
            with closing(Dying(server.address, 20.0)) as client:
                try:
                    work_for(client, job, world(deaths % 2))
                except Killed:
                    deaths += 1
    assert deaths == 2 * 10 * epochs
    assert counts(job).tolist() == [epochs] * ROWS


def test_a_lost_acknowledgement_is_asked_for_again_and_changes_nothing(tmp_path: Path, numbered: Dataset) -> None:
    config = RunConfig(epochs=2, batch_size=20, **QUIET)
    job = order(tmp_path / "run", numbered, config)
    with served(job, numbered) as server, closing(Deaf(server.address, 20.0)) as client:
        work_for(client, job, world(0))
    assert client.lost > 0
    assert counts(job).tolist() == [2] * ROWS


def test_a_change_that_comes_after_its_lease_has_expired_is_refused(tmp_path: Path, numbered: Dataset) -> None:
    config = RunConfig(epochs=1, batch_size=20, first_step_deadline=0.3, step_deadline=0.3, **QUIET)
    job = order(tmp_path / "run", numbered, config)
    with served(job, numbered) as server, closing(Client(server.address, 20.0)) as client:
        client.join(Joining(0, "first", "here", "cpu"))
        held = client.ask(0, "first")
        assert isinstance(held, Train)
        time.sleep(0.4)
        change = {"count": torch.full((ROWS,), 1e6), "seen": torch.tensor(0)}
        assert not client.renew(held.lease.token)
        assert client.push(held.lease.token, held.version, change, Tally(), 1.0) is Outcome.REFUSED
        again = client.ask(0, "first")
        assert isinstance(again, Train)
        assert again.lease.first == held.lease.first
        assert not again.tensors["count"].any()


@pytest.mark.slow
def test_a_worker_killed_in_a_lease_and_one_stopped_past_it_apply_each_row_once(
    tmp_path: Path, numbered: Dataset
) -> None:
    busy = tmp_path / "busy"
    busy.mkdir()
    config = RunConfig(epochs=2, batch_size=20, step_deadline=1.0, first_step_deadline=20.0, fault="kill:0@7",
                       eval_every="1epoch", checkpoint_every="off")  # fmt: skip
    job = order(tmp_path / "run", numbered, config, Counting(seconds=0.15, busy=str(busy)))
    with server_process(job) as server:
        address = server.address()
        killed, stopped = (processes.Process(target=work, args=(address, job, n)) for n in (0, 1))
        killed.start()
        stopped.start()
        assert killed.pid
        assert stopped.pid
        _wait_for(busy / str(stopped.pid))
        os.kill(stopped.pid, signal.SIGSTOP)
        killed.join(HANG_SECONDS)
        assert killed.exitcode == -signal.SIGKILL
        again = processes.Process(target=work, args=(address, job, 0, 2))
        again.start()
        threading.Timer(2.5, os.kill, (stopped.pid, signal.SIGCONT)).start()
        finish(server)
        for worker in (stopped, again):
            worker.join(HANG_SECONDS)
        assert (stopped.exitcode, again.exitcode) == (0, 0)
        assert server.progress is not None
        assert server.progress.metrics == {"rows": TEST_ROWS}
        assert server.progress.rows == 2 * ROWS
    assert counts(job).tolist() == [2] * ROWS


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_goes_on_with_another_number_of_workers(tmp_path: Path, numbered: Dataset, workers: int) -> None:
    config = RunConfig(epochs=2, batch_size=20, max_steps=7, **QUIET)
    short = order(tmp_path / "run", numbered, config)
    _train_in_threads(short, numbered, 2)
    whole = order(tmp_path / "run", numbered, RunConfig(**{**config.to_json(), "max_steps": None, "epochs": 3}))
    _train_in_threads(whole, numbered, workers)
    assert counts(whole).tolist() == [3] * ROWS


def _train_in_threads(job: Any, dataset: Dataset, workers: int) -> None:
    with served(job, dataset, workers) as server:
        threads = [threading.Thread(target=_work, args=(server.address, job, number)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_SECONDS)
        assert server.conductor.ended


def _work(address: Any, job: Any, number: int) -> None:
    with closing(Client(address, 20.0)) as client:
        work_for(client, job, world(number, 3))


def _wait_for(path: Path) -> None:
    end = time.monotonic() + HANG_SECONDS
    while not path.exists():
        assert time.monotonic() < end, f"{path} is not there after {HANG_SECONDS:.0f} s"
        time.sleep(0.02)
