"""Workers on the server's machine: a socket that only this user reaches, and that is left where it is another host."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from counted import ROWS
from servers import counts, finish, order, processes, served, server_process, work

from echelon.data.manifest import Dataset
from echelon.errors import CommunicationError
from echelon.server.client import Client
from echelon.server.near import LONGEST_PATH, near_end
from echelon.server.orders import Joining
from echelon.sync.server import ParameterServer
from echelon.train.config import RunConfig

CONFIG = RunConfig(epochs=1, batch_size=20, eval_every="off", checkpoint_every="off")


def test_only_this_user_reaches_the_socket_and_it_goes_with_the_server(tmp_path: Path, numbered: Dataset) -> None:
    with server_process(order(tmp_path / "run", numbered, CONFIG)) as server:
        near = server.address().near
        assert near is not None
        assert near.reachable
        folder = Path(near.path).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_a_worker_beside_the_server_needs_no_network_and_one_elsewhere_has_it(
    tmp_path: Path, numbered: Dataset
) -> None:
    near = near_end(str(tmp_path))
    assert near is not None
    with served(order(tmp_path / "run", numbered, CONFIG), numbered, near=near) as server:
        # Nobody listens at the port 1, so whoever is answered came by the other way.
        beside = replace(server.address, port=1)
        elsewhere = replace(server.address, near=replace(near, machine="another"))
        for number, address in enumerate((beside, elsewhere)):
            with closing(Client(address, 10.0)) as client:
                client.join(Joining(number, "one", "here", "cpu"))
        for address in (replace(elsewhere, port=1), replace(beside, near=replace(near, path=f"{near.path}-gone"))):
            with closing(Client(address, 0.5)) as client, pytest.raises(CommunicationError, match=r"within 0\.5 s"):
                client.join(Joining(2, "one", "here", "cpu"))


def test_each_row_is_applied_once_by_workers_beside_and_far_away_together(tmp_path: Path, numbered: Dataset) -> None:
    near = near_end(str(tmp_path))
    job = order(tmp_path / "run", numbered, CONFIG, strategy=ParameterServer(1))
    with served(job, numbered, near=near) as server:
        addresses = server.address, replace(server.address, near=None)
        workers = [processes.Process(target=work, args=(one, job, number)) for number, one in enumerate(addresses)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60.0)
            assert worker.exitcode == 0
        assert server.conductor.ended
    assert counts(job).tolist() == [1] * ROWS


def test_a_path_that_is_no_path_of_a_socket_is_not_tried(tmp_path: Path) -> None:
    assert near_end(str(tmp_path / ("x" * LONGEST_PATH))) is None


def test_servers_are_forked_from_one_process_which_is_replaced_when_it_dies(tmp_path: Path, numbered: Dataset) -> None:
    jobs = [order(tmp_path / name, numbered, CONFIG) for name in ("one", "two", "three")]
    with server_process(jobs[0]) as one, server_process(jobs[1]) as two:
        addresses = [one.address(), two.address()]
        parents = [psutil.Process(server.pid).parent() for server in (one, two)]
        assert parents[0] is not None
        assert parents[0] == parents[1]
        os.kill(parents[0].pid, signal.SIGKILL)
        parents[0].wait(10.0)
        with server_process(jobs[2]) as three:
            for server, job, address in zip((one, two, three), jobs, [*addresses, three.address()], strict=True):
                work(address, job, 0)
                finish(server)
    assert [counts(job).tolist() for job in jobs] == [[1] * ROWS] * 3
