"""The server's end of the network: an encrypted port at which only the workers of this run are heard.

CURVE authenticates both ends before a message is read: who has not the keys that were made for this run gets no answer.
One thread answers, one call after the other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from echelon.errors import CommunicationError
from echelon.server.calls import ERROR, ID, LOST, answer
from echelon.server.conductor import Conductor
from echelon.server.keys import Keys, require_zmq
from echelon.server.state import Tensors
from echelon.server.wire import HEADER_BYTES, MalformedMessage, decode, encode, size_of, with_header

TICK_SECONDS = 0.1
LARGEST_STATES = 1 << 30
"""Bytes that the metric states of a part may take."""
_log = logging.getLogger(__name__)


class Listener:
    """port: that the system gave. Close it."""

    def __init__(self, conductor: Conductor, keys: Keys, bind: str, largest: int = LARGEST_STATES) -> None:
        """
        Args:
            bind: address of the one interface to listen on. largest: bytes of a frame; who sends more is cut off.

        Raises:
            CommunicationError: this machine does not have that address.
        """
        zmq = require_zmq()
        from zmq.auth.thread import ThreadAuthenticator

        self._conductor = conductor
        self._encoded: tuple[Tensors, list[bytes]] | None = None
        self._context = zmq.Context()
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve_callback("*", _Known(keys.workers.public))
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = keys.server.public, keys.server.secret
        self._socket.setsockopt(zmq.MAXMSGSIZE, max(largest, HEADER_BYTES))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._poll_in = zmq.POLLIN
        try:
            self._socket.bind(f"tcp://{bind}:*")
        except zmq.ZMQError as error:
            self.close()
            raise CommunicationError(
                f"the parameter server cannot listen on {bind}: {error}. "
                "Set spark.driver.bindAddress to the address of an interface that the workers can reach"
            ) from error
        self.port = int(self._socket.getsockopt(zmq.LAST_ENDPOINT).rpartition(b":")[2])

    def serve(self, over: Callable[[], bool]) -> None:
        """Answers until it is over.

        Raises:
            StorageError, EchelonError: as `Conductor.tick`.
        """
        ticked = 0.0
        while not over():
            if self._socket.poll(TICK_SECONDS * 1000, self._poll_in):
                self._answer_one()
            if (now := time.monotonic()) - ticked > TICK_SECONDS:
                self._conductor.tick()
                ticked = now

    def close(self) -> None:
        """Ends its threads, and with them all connections."""
        self._guard.stop()
        self._socket.close(0)
        self._context.destroy(0)

    def _answer_one(self) -> None:
        peer, *frames = self._socket.recv_multipart()
        reply = self._reply(frames)
        self._conductor.sent(size_of(frames) + size_of(reply))
        self._socket.send_multipart([peer, *reply], copy=False)

    def _reply(self, frames: list[bytes]) -> list[bytes]:
        try:
            header, tensors = decode(frames)
            number = header.pop(ID, None)
        except MalformedMessage as error:
            _log.warning("a message was refused: %s", error)
            return encode({ERROR: str(error), LOST: True})
        header, tensors = answer(self._conductor, header, tensors)
        return self._frames({**header, ID: number}, tensors)

    def _frames(self, header: dict[str, Any], tensors: Tensors) -> list[bytes]:
        """The frames of a reply; of parameters that did not change since the last one, the same bytes."""
        if not tensors:
            return encode(header)
        if self._encoded is None or self._encoded[0] is not tensors:
            self._encoded = tensors, encode({}, tensors)
        return with_header(self._encoded[1], header)


class _Known:
    """Lets in who has the key that the workers of a run share."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether the owner of a public key may come in."""
        return key == self._public
