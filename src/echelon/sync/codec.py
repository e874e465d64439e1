"""Numbers in fewer bytes, for vectors that travel between workers."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

CHUNK = 1024
"""Numbers that share a scale: few enough to be of one size, so many that scales are 0.4 % of what is sent."""
LARGEST = 127
_SCALE_BYTES = 4

Encoding = Literal["fp32", "bf16", "int8"]


class Codec(Protocol):
    """How rows of numbers become bytes. What is not finite stays so: nothing is lost without a sign."""

    def padded(self, length: int) -> int:
        """The least length of a row, from this one on, that can be encoded."""

    def encode(self, values: Tensor) -> Tensor:
        """[rows, padded length] float → [rows, bytes] uint8."""

    def decode(self, data: Tensor, length: int) -> Tensor:
        """[rows, bytes] uint8 → [rows, padded length] float32."""


class Bf16:
    """The upper half of each single-precision number: 8 bits of mantissa, the same range."""

    def padded(self, length: int) -> int:
        return length

    def encode(self, values: Tensor) -> Tensor:
        return values.to(torch.bfloat16).view(torch.uint8)

    def decode(self, data: Tensor, length: int) -> Tensor:
        return data.contiguous().view(torch.bfloat16).float()


class Int8:
    """Whole numbers from -127 to 127 times a scale, which is that of the largest of up to 1,024 neighbours.

    A number is off by at most half a scale, max|x| / 254 of its chunk. A row's bytes are its scales, then its numbers.
    """

    def padded(self, length: int) -> int:
        return length if length <= CHUNK else -(-length // CHUNK) * CHUNK

    def encode(self, values: Tensor) -> Tensor:
        rows, length = values.shape
        chunks = values.float().reshape(rows, -1, min(CHUNK, length))
        scales = torch.maximum(chunks.amax(2, keepdim=True), -chunks.amin(2, keepdim=True)) / LARGEST
        # A chunk of zeros has the scale 0; of one that is not finite the scale says so, whatever its whole numbers are.
        whole = (chunks * scales.masked_fill(scales == 0, 1).reciprocal()).round_().to(torch.int8).reshape(rows, length)
        return torch.cat([scales.reshape(rows, -1).view(torch.uint8), whole.view(torch.uint8)], 1)

    def decode(self, data: Tensor, length: int) -> Tensor:
        rows, chunk = len(data), min(CHUNK, length)
        head = _SCALE_BYTES * length // chunk
        # A copy begins where a float may begin.
        scales = data[:, :head].clone(memory_format=torch.contiguous_format).view(torch.float32)
        whole = data[:, head:].view(torch.int8).float().reshape(rows, -1, chunk)
        return (whole * scales[..., None]).reshape(rows, length)


def codec_of(encoding: Encoding) -> Codec | None:
    """The codec of an encoding; None for the numbers as they are."""
    return {"fp32": None, "bf16": Bf16(), "int8": Int8()}[encoding]
