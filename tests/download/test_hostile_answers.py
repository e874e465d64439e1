"""Answers of servers that mean no good."""

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
from echelon.errors import EchelonError

PATIENT = Limits(connect_seconds=5, stall_seconds=0.5, tries=2, backoff_seconds=0.01)


@contextmanager
def drip(begun: bytes, drop: bytes) -> Iterator[str]:
    """The address of a server that answers so, and then with the same drop for ever; with none it ends there."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(begun)
                while drop and not over.wait(0.1):
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


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"hello", "after 2 tries in a row"),
        (OK + b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"\r\nhello", "after 2 tries in a row"),
        (OK + b"X: " + b"x" * 100_000 + b"\r\n\r\nhello", "after 2 tries in a row"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello", "after 2 tries in a row"),
        (b"HTTP/1.1 206 x\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\n\r\nhello", "does not fit"),
        (b"HTTP/1.1 302 x\r\nLocation: http://[::1\r\n\r\n", "leads to, no address"),
        (b"HTTP/1.1 302 x\r\nLocation: http://x:99999/\r\n\r\n", "leads to, no address"),
        (b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n", "leads to, no address"),
        (b"HTTP/1.1 999 x\r\n\r\n", "the server answers 999"),
    ],
)
def test_answers_that_make_no_sense_are_told(tmp_path, monkeypatch, answer, told):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with drip(answer, b"") as address, pytest.raises(EchelonError, match=told):
        fetch(File(address, "song"), tmp_path, limits=PATIENT)
    assert not (tmp_path / "song").exists()


def test_a_length_that_is_none_says_nothing(tmp_path, monkeypatch):
    """Python takes no numbers of thousands of digits."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with drip(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello", b"") as address:
        assert fetch(File(address, "song"), tmp_path, limits=PATIENT).read_bytes() == b"hello"
