"""The driver's end of `echelon.server.nursery`: one for all servers that this process asks for."""

from __future__ import annotations

import array
import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from echelon.errors import CommunicationError
from echelon.server.nursery import ASK

END_SECONDS = 10.0
_lock = threading.Lock()
_nursery: Nursery | None = None


@dataclass(frozen=True)
class Child:
    """A server's process. input: what is written here it reads. said: a file descriptor of what it says."""

    input: BinaryIO
    said: int


class Nursery:
    """The process that forks servers. It takes seconds until it can, but may be asked at once."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._owner = os.getpid()
        self._control, other = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "echelon.server.nursery", str(other.fileno()), *modules],
                stdin=subprocess.DEVNULL, pass_fds=(other.fileno(),), env=environment, start_new_session=True,
            )  # fmt: skip

    @property
    def usable(self) -> bool:
        """Whether it is this process's own, and alive."""
        return self._owner == os.getpid() and self._process.poll() is None

    def child(self) -> Child:
        """
        Raises:
            CommunicationError: it has ended.
        """
        reading, writing = os.pipe()
        listening, speaking = os.pipe()
        given = array.array("i", [reading, 1, 2, speaking])
        try:
            with _lock:
                self._control.sendmsg([ASK], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
        except OSError as error:
            os.close(writing)
            os.close(listening)
            raise CommunicationError(f"the process that starts parameter servers has ended: {error}") from error
        finally:
            os.close(reading)
            os.close(speaking)
        return Child(os.fdopen(writing, "wb"), listening)

    def close(self) -> None:
        """Ends it, once it has started what it was asked for."""
        if self._owner == os.getpid():
            self._control.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)


def nursery(modules: Sequence[str] = ()) -> Nursery:
    """The one of this process, which is started if there is none yet.

    Args:
        modules: what a new one imports beside all that is needed anyway.
    """
    global _nursery
    with _lock:
        if _nursery is None or not _nursery.usable:
            _nursery = Nursery(modules)
            atexit.register(_nursery.close)
        return _nursery
