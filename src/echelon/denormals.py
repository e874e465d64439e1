"""Numbers too small to matter are zero while torch computes.

What flows back through hundreds of steps of a recurrent network falls below 1e-38, where a processor needs a hundred
times as long for each number: a training step of an LSTM over 400 words, with the weights that torch gives it at
first, takes four times as long (benchmarks/denormals.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_DENORMAL = 1e-39


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """For the length of the block, this thread and those that torch starts from it take denormal numbers for zero.

    Where the processor cannot, nothing is done.
    """
    before = flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes() -> bool:
    """Whether a denormal float32 counts as zero in this thread."""
    return not (torch.tensor([_DENORMAL]) * 1).item()
