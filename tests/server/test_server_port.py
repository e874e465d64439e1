"""The port of a server: who has not the keys of the run is not heard, and what is no message does no harm."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
import zmq
from counted import ROWS
from servers import HANG_SECONDS, LOCAL, Served, counts, finish, order, processes, served, server_process, work

from echelon.data.manifest import Dataset
from echelon.errors import CommunicationError, EchelonError
from echelon.server.client import Client
from echelon.server.keys import KeyPair, Keys
from echelon.server.orders import Joining, Train
from echelon.server.wire import MalformedMessage, decode, encode
from echelon.sync.protocol import Tally
from echelon.train.config import RunConfig

CONFIG = RunConfig(epochs=1, batch_size=20, eval_every="off", checkpoint_every="off")


def test_messages_come_back_as_they_were() -> None:
    tensors = {
        "half": torch.randn(3, 2).bfloat16(), "none": torch.zeros(0, 4), "one": torch.tensor(7),
        "yes": torch.tensor([True]), "across": torch.arange(6.0).reshape(2, 3).T,
    }  # fmt: skip
    header, back = decode(encode({"call": "push"}, tensors))
    assert header == {"call": "push"}
    torch.testing.assert_close(back, tensors, rtol=0, atol=0)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"\\xff\\xfe"],
        [b"[]"],
        [b"{}"],
        [b'{"tensors": [["w", "float32", [3]]]}'],
        [b'{"tensors": [["w", "float32", [3]]]}', b"12345678"],
        [b'{"tensors": [["w", "float32", [-3]]]}', b"12345678"],
        [b'{"tensors": [["w", "float32", [2.0]]]}', b"12345678"],
        [b'{"tensors": [["w", "object", [2]]]}', b"12345678"],
        [b'{"tensors": [["w", "float32", 2]]}', b"12345678"],
        [b"[" * 100_000],
        [b'{"tensors": []}' + b" " * (5 << 20)],
    ],
)
def test_bytes_that_are_no_message_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(MalformedMessage):
        decode(frames)


def test_hostile_bytes_on_the_port_do_no_harm(tmp_path: Path, numbered: Dataset) -> None:
    job = order(tmp_path / "run", numbered, CONFIG)
    with served(job, numbered) as server:
        with socket.create_connection((LOCAL, server.address.port)) as stranger:
            stranger.sendall(os.urandom(1 << 16))
        stolen = replace(server.address, keys=Keys.new().workers)
        for address in (stolen, replace(server.address, server_key=Keys.new().server.public)):
            with closing(Client(address, 0.5)) as client, pytest.raises(CommunicationError, match=r"within 0\.5 s"):
                client.join(Joining(0, "stranger", "elsewhere", "cpu"))
        _send_nonsense_with_the_right_keys(server)
        work(server.address, job, 0)
        assert server.conductor.ended
    assert counts(job).tolist() == [1] * ROWS


def _send_nonsense_with_the_right_keys(server: Served) -> None:
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.curve_serverkey = server.address.server_key
    peer.curve_publickey, peer.curve_secretkey = server.address.keys.public, server.address.keys.secret
    peer.connect(f"tcp://{server.address}")
    said = [
        [b""], [b"nonsense"], encode({"call": "ask"}), encode({"call": "format"}),
        encode({"call": "renew", "token": "x"}),
        encode({"call": "push", "token": 0, "version": 0, "tally": [0] * 40, "rate": 1}),
    ]  # fmt: skip
    for frames in said:
        peer.send_multipart(frames)
        assert peer.poll(5000), "a message was not answered"
        header, _ = decode(peer.recv_multipart())
        assert header["error"], frames
    context.destroy(0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"count": torch.zeros(ROWS)}, "1 tensors"),
        ({"count": torch.zeros(3), "seen": torch.tensor(0)}, r"float32\[3\] for count, which is float32\[203\]"),
        ({"count": torch.full((ROWS,), float("nan")), "seen": torch.tensor(0)}, "count is not finite"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_and_not_applied(
    tmp_path: Path, numbered: Dataset, change: dict, text: str
) -> None:
    job = order(tmp_path / "run", numbered, CONFIG)
    with served(job, numbered) as server, closing(Client(server.address, 20.0)) as client:
        client.join(Joining(0, "one", "here", "cpu"))
        held = client.ask(0, "one")
        assert isinstance(held, Train)
        with pytest.raises(EchelonError, match=text):
            client.push(held.lease.token, held.version, change, Tally(), 1.0)
        again = client.ask(0, "one")
        assert isinstance(again, Train)
        assert (again.version, again.lease.first) == (0, held.lease.first)


def test_a_process_whose_place_was_taken_is_sent_away(tmp_path: Path, numbered: Dataset) -> None:
    job = order(tmp_path / "run", numbered, CONFIG)
    with served(job, numbered) as server, closing(Client(server.address, 20.0)) as client:
        client.join(Joining(0, "first", "here", "cpu"))
        client.join(Joining(0, "second", "here", "cpu"))
        with pytest.raises(CommunicationError, match="another process has taken the place of worker 0"):
            client.ask(0, "first")


def test_two_runs_go_on_side_by_side(tmp_path: Path, numbered: Dataset) -> None:
    jobs = [order(tmp_path / name, numbered, CONFIG) for name in ("one", "two")]
    with served(jobs[0], numbered) as one, served(jobs[1], numbered) as two:
        workers = [processes.Process(target=work, args=(s.address, s.job, 0)) for s in (one, two)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(HANG_SECONDS)
            assert worker.exitcode == 0
    assert [counts(job).tolist() for job in jobs] == [[1] * ROWS] * 2


def test_a_server_that_is_killed_is_noticed_at_once(tmp_path: Path, numbered: Dataset) -> None:
    with server_process(order(tmp_path / "run", numbered, CONFIG)) as server:
        server.address()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(CommunicationError, match="ended with code -9"):
            finish(server)


def test_a_server_that_cannot_begin_says_why(tmp_path: Path, numbered: Dataset) -> None:
    job = replace(order(tmp_path / "run", numbered, CONFIG), dataset=str(tmp_path / "nowhere"))
    with pytest.raises(EchelonError, match="nowhere"), server_process(job) as server:
        server.address()


def test_a_server_ends_with_its_driver_even_if_that_is_killed(tmp_path: Path, numbered: Dataset) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom echelon.data.manifest import open_dataset\n"
        "from echelon.train.config import RunConfig\nfrom servers import order, server_process\n"
        "if __name__ == '__main__':\n"
        "    job = order(Path(sys.argv[1]), open_dataset(sys.argv[2]), RunConfig(batch_size=20))\n"
        "    with server_process(job) as server:\n        server.address()\n"
        "        print(server.pid, server.address().near.path, flush=True)\n        time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), str(tmp_path / "run"), numbered.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout
        pid, _, socket_path = driver.stdout.readline().strip().partition(" ")
        child = psutil.Process(int(pid))
        assert Path(socket_path).exists()
        driver.kill()
    _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the server's end")
    _until(lambda: not Path(socket_path).parent.exists(), "the end of its folder")


def _until(true: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.05)


def test_keys_are_not_shown() -> None:
    keys = Keys.new()
    for value in (keys, keys.workers, keys.address(LOCAL, 1)):
        assert keys.workers.secret.decode() not in repr(value)
        assert keys.server.secret.decode() not in repr(value)
    assert isinstance(keys.workers, KeyPair)
