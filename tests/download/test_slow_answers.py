"""Answers that never end, but send a byte now and then, so that no read ever waits for long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from echelon.download.failure import Unreachable
from echelon.download.fetch import fetch
from echelon.download.file import File
from echelon.download.limits import Limits

PATIENT = Limits(connect_seconds=5, stall_seconds=0.5, tries=2, backoff_seconds=0.01)


@contextmanager
def drip(begun: bytes, drop: bytes) -> Iterator[str]:
    """The address of a server that answers so, and then with the same drop for ever."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(begun)
                while not over.wait(0.1):
                    connection.sendall(drop)
            except OSError:
                return

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/song"
        finally:
            over.set()


BODY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("begun", "drop"), [(b"HTTP/1.1 200", b"x"), (b"HTTP/1.1 200 OK\r\nX: ", b"x"), (BODY + b"5;", b"x")]
)
def test_a_head_or_a_piece_that_never_ends_is_left(tmp_path, monkeypatch, begun, drop):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    before = time.monotonic()
    with (
        drip(begun, drop) as address,
        pytest.raises(Unreachable, match=r"after 2 tries in a row: too little came from 127\.0\.0\.1 in 1 s"),
    ):
        fetch(File(address, "song"), tmp_path, limits=PATIENT)
    assert time.monotonic() - before < 20
    assert not (tmp_path / "song").exists()
    assert not [thread.name for thread in threading.enumerate() if thread.name == "echelon-download-watch"]
