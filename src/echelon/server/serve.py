"""The server's end of the network: an encrypted port at which only the workers of this run are heard.

CURVE authenticates both ends before a message is read: who has not the keys that were made for this run gets no
answer. Workers on the server's own machine have a socket beside it (`echelon.server.near`). One thread answers, one
call after the other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from echelon.errors import CommunicationError
from echelon.server.calls import ERROR, ID, LOST, answer
from echelon.server.conductor import Conductor
from echelon.server.keys import Keys, require_zmq
from echelon.server.near import Near
from echelon.server.wire import HEADER_BYTES, Frame, MalformedMessage, decode, encode, received, size_of

TICK_SECONDS = 0.1
LARGEST_STATES = 1 << 30
"""Bytes that the metric states of a part may take."""
_log = logging.getLogger(__name__)


class Listener:
    """port: that the system gave. Close it."""

    def __init__(
        self, conductor: Conductor, keys: Keys, bind: str, near: Near | None = None, largest: int = LARGEST_STATES
    ) -> None:
        """
        Args:
            bind: address of the one interface to listen on. near: where workers on this machine are heard as well.
            largest: bytes of a frame, if the model takes less; who sends more is cut off.

        Raises:
            CommunicationError: this machine does not have that address, or the folder of `near` cannot be written.
        """
        self._zmq = zmq = require_zmq()
        from zmq.auth.thread import ThreadAuthenticator

        self._conductor = conductor
        self._context = zmq.Context()
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve_callback("*", _Known(keys.workers.public))
        self._poller = zmq.Poller()
        largest = max(largest, HEADER_BYTES, conductor.message_bytes)
        far = self._socket(largest)
        far.curve_server = True
        far.curve_publickey, far.curve_secretkey = keys.server.public, keys.server.secret
        remedy = "set spark.driver.bindAddress to the address of an interface that the workers can reach"
        self._bind(far, f"tcp://{bind}:*", remedy)
        if near is not None:
            socket = self._socket(largest)
            self._bind(socket, f"ipc://{near.path}", "set TMPDIR to a folder that this user can write")
        self.port = int(far.getsockopt(zmq.LAST_ENDPOINT).rpartition(b":")[2])

    def serve(self, over: Callable[[], bool]) -> None:
        """Answers until it is over.

        Raises:
            StorageError, EchelonError: as `Conductor.tick`.
        """
        ticked = 0.0
        while not over():
            for socket, _ in self._poller.poll(TICK_SECONDS * 1000):
                self._answer_one(socket)
            if (now := time.monotonic()) - ticked > TICK_SECONDS:
                self._conductor.tick()
                ticked = now

    def close(self) -> None:
        """Ends its threads, and with them all connections."""
        self._guard.stop()
        self._context.destroy(0)

    def _socket(self, largest: int) -> Any:
        socket = self._context.socket(self._zmq.ROUTER)
        socket.setsockopt(self._zmq.MAXMSGSIZE, largest)
        socket.setsockopt(self._zmq.LINGER, 0)
        self._poller.register(socket, self._zmq.POLLIN)
        return socket

    def _bind(self, socket: Any, endpoint: str, remedy: str) -> None:
        try:
            socket.bind(endpoint)
        except self._zmq.ZMQError as error:
            self.close()
            raise CommunicationError(f"the parameter server cannot listen on {endpoint}: {error}; {remedy}") from error

    def _answer_one(self, socket: Any) -> None:
        peer, *frames = received(socket)
        reply = self._reply(frames)
        self._conductor.sent(size_of(frames) + size_of(reply))
        socket.send_multipart([peer, *reply], copy=False)

    def _reply(self, frames: Sequence[Frame]) -> list[Frame]:
        try:
            header, tensors = decode(frames)
            number = header.pop(ID, None)
        except MalformedMessage as error:
            _log.warning("a message was refused: %s", error)
            return encode({ERROR: str(error), LOST: True})
        header, tensors = answer(self._conductor, header, tensors)
        return encode({**header, ID: number}, tensors)


class _Known:
    """Lets in who has the key that the workers of a run share."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the owner of a public key may come in."""
        return key == self._public
