"""A worker's end of the network. Every call has a deadline, and is repeated with the same token until then."""

from __future__ import annotations

import time
from dataclasses import asdict, astuple
from typing import Any

from echelon.errors import CommunicationError, EchelonError
from echelon.server.calls import CALL, ERROR, ID, LOST, order_of_message, outcome_of, states_to_tensors
from echelon.server.keys import Address, require_zmq
from echelon.server.leases import Outcome
from echelon.server.orders import Joining, Order
from echelon.server.state import Tensors
from echelon.server.wire import Frame, Header, decode, encode, received
from echelon.sync.protocol import Tally
from echelon.train.failure import Failure

FIRST_TRY_SECONDS = 10.0
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 15.0


class Client:
    """The server, far away: see `echelon.server.orders.Server`. For one thread at a time. Close it."""

    def __init__(self, address: Address, seconds: float, try_seconds: float = FIRST_TRY_SECONDS) -> None:
        """
        Args:
            seconds: deadline of each call. try_seconds: after which it is repeated for the first time, over a new
                connection; then after twice as long each.
        """
        self._zmq = require_zmq()
        self._address, self._seconds, self._try_seconds = address, seconds, try_seconds
        self._context = self._zmq.Context()
        self._socket: Any = None
        self._calls = 0

    def join(self, who: Joining) -> None:
        self._call("a worker's coming", {CALL: "join", **asdict(who)})

    def ask(self, worker: int, process: str) -> Order:
        return order_of_message(*self._call("an order", {CALL: "ask", "worker": worker, "process": process}))

    def renew(self, token: int) -> bool:
        header, _ = self._call("the renewal of a lease", {CALL: "renew", "token": token})
        return bool(header["held"])

    def push(self, token: int, version: int, change: Tensors, tally: Tally, rate: float) -> Outcome:
        fields = _fields(token, version, tally, rate)
        return outcome_of(self._call("the receipt of a change", {CALL: "push", **fields}, change)[0])

    def exchange(
        self, worker: int, process: str, token: int, version: int, change: Tensors, tally: Tally, rate: float
    ) -> Order:
        fields = {"worker": worker, "process": process, **_fields(token, version, tally, rate)}
        return order_of_message(*self._call("an order after a change", {CALL: "exchange", **fields}, change))

    def give(self, number: int, token: int, states: bytes) -> Outcome:
        fields = {"number": number, "token": token}
        return outcome_of(
            self._call("the receipt of an evaluation", {CALL: "give", **fields}, states_to_tensors(states))[0]
        )

    def fail(self, failure: Failure) -> None:
        self._call("the receipt of a failure", {CALL: "fail", "failure": asdict(failure)})

    def close(self) -> None:
        """Ends the connection."""
        self._disconnect()
        self._context.destroy(0)

    def _call(self, what: str, header: Header, tensors: Tensors | None = None) -> tuple[Header, Tensors]:
        """
        Raises:
            CommunicationError: there is no answer within the deadline, or this worker is not wanted any more.
            EchelonError: the server refuses what was sent; says why.
        """
        self._calls += 1
        frames = encode({**header, ID: self._calls}, tensors)
        end, wait = time.monotonic() + self._seconds, self._try_seconds
        while (left := end - time.monotonic()) > 0:
            self._send(frames)
            reply = self._receive(self._calls, min(wait, left))
            if reply is not None:
                return _checked(*reply)
            self._disconnect()
            wait *= 2
        raise CommunicationError(f"{what} did not come from the parameter server at {self._address} "
                                 f"within {self._seconds:g} s")  # fmt: skip

    def _send(self, frames: list[Frame]) -> None:
        if self._socket is None:
            self._socket = self._connected()
        self._socket.send_multipart(frames, copy=False)

    def _receive(self, number: int, seconds: float) -> tuple[Header, Tensors] | None:
        """The reply to a call, None if it is not there in time. Those to earlier calls are dropped."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self._socket.poll(left * 1000, self._zmq.POLLIN):
                return None
            header, tensors = decode(received(self._socket))
            if header.get(ID) == number:
                return header, tensors
        return None

    def _connected(self) -> Any:
        zmq, address = self._zmq, self._address
        socket = self._context.socket(zmq.DEALER)
        near = address.near if address.near is not None and address.near.reachable else None
        if near is None:
            socket.curve_serverkey = address.server_key
            socket.curve_publickey, socket.curve_secretkey = address.keys.public, address.keys.secret
        # A link that is cut is noticed by silence, and the connection made anew.
        socket.setsockopt(zmq.HEARTBEAT_IVL, int(BEAT_SECONDS * 1000))
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(SILENCE_SECONDS * 1000))
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{near.path}" if near else f"tcp://{address}")
        return socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None


def _fields(token: int, version: int, tally: Tally, rate: float) -> Header:
    return {"token": token, "version": version, "tally": astuple(tally), "rate": rate}


def _checked(header: Header, tensors: Tensors) -> tuple[Header, Tensors]:
    if ERROR in header:
        raise (CommunicationError if header.get(LOST) else EchelonError)(str(header[ERROR]))
    return header, tensors
