"""Memory is used again when the last tensor over it is gone, and not before."""

from __future__ import annotations

import numpy as np

from echelon.data.buffers import Buffers
from echelon.data.schema import Column


def test_memory_is_used_again_after_the_last_slice_is_gone() -> None:
    buffers = Buffers(Column("x", "float32", (3,)))
    array, tensor = buffers.take(100)
    array[:] = 7
    place = tensor.data_ptr()
    part = tensor[40:60].view(-1)
    del array, tensor
    other = buffers.take(100)[1]
    assert other.data_ptr() != place
    other.zero_()
    assert (part == 7).all()
    del part
    assert buffers.take(90)[1].data_ptr() == place


def test_memory_that_is_too_small_is_left() -> None:
    buffers = Buffers(Column("x", "uint8", (2, 2)))
    buffers.take(8)
    array, tensor = buffers.take(1000)
    assert array.shape == tuple(tensor.shape) == (1000, 2, 2)
    assert array.dtype == np.uint8


def test_no_more_is_kept_than_asked_for() -> None:
    buffers = Buffers(Column("x", "int64"), spare=2)
    tensors = [buffers.take(1000)[1] for _ in range(5)]
    places = {tensor.data_ptr() for tensor in tensors}
    del tensors
    kept = [buffers.take(1000) for _ in range(2)]
    assert all(tensor.data_ptr() in places for _, tensor in kept)
    assert not buffers._free
