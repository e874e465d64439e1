"""A deadline for answers that come a byte now and then, in heads and between pieces, where no socket's own ever passes.

Imports urllib3, so it is imported where a download begins.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_LOOKS = 4
"""How often in its time the thread looks."""


class Watch:
    """Ends connections, by a thread that lives as long as the block, whose heads are not whole after some seconds, or
    whose bodies give nothing for so long.

    has_cut: whether it ended the last one.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.has_cut = seconds, False
        self._socket: socket.socket | None = None
        self._until = math.inf
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="echelon-download-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._done.set()
        self._thread.join()

    def pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """What makes connections that are watched, for `PoolManager.pool_classes_by_scheme`."""
        watch = self

        class Plain(HTTPConnection):
            def getresponse(self) -> Any:
                with watch._looking(self.sock):
                    return super().getresponse()

        class Encrypted(HTTPSConnection):
            def getresponse(self) -> Any:
                with watch._looking(self.sock):
                    return super().getresponse()

        return {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
            "https": type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": Encrypted}),
        }

    def pieces(self, response: BaseHTTPResponse, size: int) -> Iterator[bytes]:
        """A body, one read of the network of at most so many bytes at a time, so that a trickle cannot keep us here. It
        ends early where it was cut.
        """
        while True:
            with self._looking(self._socket):
                data = response.read1(size, decode_content=False)
            if not data:
                return
            yield data

    @contextmanager
    def _looking(self, connection: socket.socket | None) -> Iterator[None]:
        self._socket, self.has_cut = connection, False
        self._until = time.monotonic() + self.seconds
        try:
            yield
        finally:
            self._until = math.inf

    def _look(self) -> None:
        while not self._done.wait(self.seconds / _LOOKS):
            if time.monotonic() >= self._until and self._socket is not None:
                self.has_cut = True
                with suppress(OSError):
                    # Not that of an encrypted socket, which would forget its keys while another thread reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
