"""The calls of `echelon.server.orders.Server` as messages, and back."""

from __future__ import annotations

from dataclasses import asdict

import torch

from echelon.errors import CommunicationError, EchelonError
from echelon.server.leases import Lease, Outcome
from echelon.server.orders import Evaluate, Joining, Order, Server, Stop, Train, Wait
from echelon.server.state import Tensors
from echelon.server.wire import Header, MalformedMessage
from echelon.sync.protocol import Tally
from echelon.train.failure import Failure

CALL, ID, ERROR, LOST = "call", "id", "error", "lost"
STATES = "states"
Message = tuple[Header, Tensors]


def answer(server: Server, header: Header, tensors: Tensors) -> Message:
    """What a call comes to. One that cannot be answered leaves the server as it was."""
    try:
        header, tensors = _answered(server, header, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return {ERROR: f"a message lacks what belongs to it: {error!r}", LOST: True}, {}
    except EchelonError as error:
        return {ERROR: str(error), LOST: isinstance(error, CommunicationError)}, {}
    return header, tensors


def _answered(server: Server, header: Header, tensors: Tensors) -> Message:
    match header[CALL]:
        case "join":
            server.join(Joining(int(header["worker"]), str(header["process"]), header["host"], header["device"]))
            return {}, {}
        case "ask":
            return order_to_message(server.ask(int(header["worker"]), str(header["process"])))
        case "renew":
            return {"held": server.renew(int(header["token"]))}, {}
        case "push":
            return {"outcome": server.push(*_pushed(header, tensors))}, {}
        case "exchange":
            worker, process = int(header["worker"]), str(header["process"])
            return order_to_message(server.exchange(worker, process, *_pushed(header, tensors)))
        case "give":
            states = tensors[STATES].numpy().tobytes()
            return {"outcome": server.give(int(header["number"]), int(header["token"]), states)}, {}
        case "fail":
            server.fail(Failure(**header["failure"]))
            return {}, {}
    raise MalformedMessage(f"there is no call {header[CALL]!r}")


def _pushed(header: Header, tensors: Tensors) -> tuple[int, int, Tensors, Tally, float]:
    tally, rate = Tally(*map(float, header["tally"])), float(header["rate"])
    return int(header["token"]), int(header["version"]), tensors, tally, rate


def order_to_message(order: Order) -> Message:
    match order:
        case Train():
            fields = {"streams": order.streams, "version": order.version, "seconds": order.seconds}
            return {"order": "train", "lease": asdict(order.lease), **fields}, order.tensors
        case Evaluate():
            fields = {"number": order.number, "token": order.token, "first": order.first, "last": order.last}
            return {"order": "evaluate", "split": order.split, **fields}, order.tensors
        case Wait():
            return {"order": "wait", "seconds": order.seconds}, {}
        case Stop():
            return {"order": "stop"}, {}


def order_of_message(header: Header, tensors: Tensors) -> Order:
    match header["order"]:
        case "train":
            lease = Lease(**header["lease"])
            return Train(lease, header["streams"], header["version"], header["seconds"], tensors)
        case "evaluate":
            fields = {name: header[name] for name in ("number", "token", "split", "first", "last")}
            return Evaluate(**fields, tensors=tensors)
        case "wait":
            return Wait(header["seconds"])
        case "stop":
            return Stop()
    raise MalformedMessage(f"there is no order {header['order']!r}")


def outcome_of(header: Header) -> Outcome:
    return Outcome(header["outcome"])


def states_to_tensors(states: bytes) -> Tensors:
    return {STATES: torch.frombuffer(bytearray(states), dtype=torch.uint8)}
