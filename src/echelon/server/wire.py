"""What travels between server and workers: a JSON header and the raw bytes of tensors, nothing that runs code.

A message is a list of frames. The first is JSON: {"tensors": [[name, dtype, shape], …], and the message's own fields}.
One frame follows for each tensor, with its numbers in little endian C order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from echelon.errors import CommunicationError

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


def encode(header: Header, tensors: dict[str, Tensor] | None = None) -> list[bytes]:
    """The frames of a message. tensors: in the CPU's memory; what is sent is a copy."""
    forms, frames = [], []
    for name, tensor in (tensors or {}).items():
        forms.append([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)])
        frames.append(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return [json.dumps({**header, "tensors": forms}).encode(), *frames]


def with_header(frames: Sequence[bytes], header: Header) -> list[bytes]:
    """The frames of a message with the same tensors, which are not copied, and other fields."""
    forms = json.loads(frames[0])["tensors"]
    return [json.dumps({**header, "tensors": forms}).encode(), *frames[1:]]


def decode(frames: Sequence[bytes]) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors, over memory of their own.

    Raises:
        MalformedMessage: the frames are not what their header says.
    """
    if not frames or len(frames[0]) > HEADER_BYTES:
        raise MalformedMessage(f"a message must begin with a header of at most {HEADER_BYTES} bytes")
    try:
        header = json.loads(frames[0])
        forms = [(str(name), _DTYPES[dtype], [_size(n) for n in shape]) for name, dtype, shape in header.pop("tensors")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"the header of a message cannot be read: {type(error).__name__}") from None
    if len(forms) != len(frames) - 1:
        raise MalformedMessage(f"the header speaks of {len(forms)} tensors, but {len(frames) - 1} came")
    return header, {form[0]: _tensor(form, frame) for form, frame in zip(forms, frames[1:], strict=True)}


def size_of(frames: Sequence[bytes]) -> int:
    """Bytes of a message."""
    return sum(map(len, frames))


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value


def _tensor(form: tuple[str, torch.dtype, list[int]], frame: bytes) -> Tensor:
    name, dtype, shape = form
    expected = math.prod(shape) * dtype.itemsize
    if len(frame) != expected:
        raise MalformedMessage(f"the tensor {name} of shape {shape} takes {expected} bytes, but {len(frame)} came")
    if not frame:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(frame), dtype=dtype).reshape(shape)
