"""What travels between server and workers: a JSON header and the raw bytes of tensors, nothing that runs code.

A message is one frame or two. The first is JSON: {"tensors": [[name, dtype, shape], …], and the message's own fields}.
If there are tensors, the second is the memory of a bundle of them, in little endian: a frame for each of them would
take twice the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from echelon.errors import CommunicationError
from echelon.server.bundle import ALIGNMENT, Bundle, Slot, form_of

Frame = bytes | memoryview
HEADER_BYTES = 4 << 20
"""A header lists the tensors of a model and what failed, with its traceback."""
Header = dict[str, Any]

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool,
    )
}  # fmt: skip


class MalformedMessage(CommunicationError):
    """Bytes that are no message of ours."""


def encode(header: Header, tensors: Mapping[str, Tensor] | None = None) -> list[Frame]:
    """The frames of a message.

    Args:
        tensors: in the CPU's memory. Those of a bundle are not copied, so nothing may change them until the answer.
    """
    if not tensors:
        return [json.dumps({**header, "tensors": []}).encode()]
    bundle = tensors if isinstance(tensors, Bundle) else Bundle.of(tensors)
    return [json.dumps({**header, "tensors": bundle.form.described}).encode(), bundle.memory.numpy().data]


def received(socket: Any) -> list[memoryview]:
    """The frames of the next message of a zmq socket, over memory that nobody else writes."""
    return [frame.buffer for frame in socket.recv_multipart(copy=False)]


def decode(frames: Sequence[Frame]) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors; these are over the frames' memory if it can be written, else over memory of their own.

    Raises:
        MalformedMessage: the frames are not what their header says.
    """
    if not frames or len(frames[0]) > HEADER_BYTES:
        raise MalformedMessage(f"a message must begin with a header of at most {HEADER_BYTES} bytes")
    try:
        header = json.loads(bytes(frames[0]))
        slots = tuple(
            Slot(str(name), _DTYPES[dtype], tuple(map(_size, shape))) for name, dtype, shape in header.pop("tensors")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"the header of a message cannot be read: {type(error).__name__}") from None
    if not slots:
        _require_frames(frames, 1, 0)
        return header, {}
    form = form_of(slots)
    _require_frames(frames, 2, form.bytes)
    return header, Bundle(form, _memory(frames[1]))


def _require_frames(frames: Sequence[Frame], count: int, size: int) -> None:
    if len(frames) != count or (count == 2 and len(frames[1]) != size):
        came = ", ".join(str(len(frame)) for frame in frames[1:]) or "none"
        raise MalformedMessage(f"the tensors of a message take {size} bytes by its header, but {came} came")


def size_of(frames: Sequence[Frame]) -> int:
    """Bytes of a message."""
    return sum(map(len, frames))


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value


def _memory(frame: Frame) -> Tensor:
    """uint8 [bytes], aligned as a bundle is."""
    if not len(frame):
        return torch.empty(0, dtype=torch.uint8)
    view = memoryview(frame)
    memory = torch.frombuffer(bytearray(view) if view.readonly else view, dtype=torch.uint8)
    # A small frame can lie anywhere in the network's buffer.
    return memory.clone() if memory.data_ptr() % ALIGNMENT else memory
