"""Sizes after Caffe's pooling, which rounds them up."""

from __future__ import annotations


def pooled(size: int, kernel: int = 3, stride: int = 2) -> int:
    """Windows along a side of `size` pixels without padding, as pooling_layer.cpp counts them and as torch does with
    ceil_mode; less than 1 where nothing is left.
    """
    return -(-(size - kernel) // stride) + 1


def pooled_often(size: int, times: int) -> int:
    """What so many poolings of 3x3 with stride 2, one after another, leave of a side."""
    for _ in range(times):
        size = pooled(size)
    return size
