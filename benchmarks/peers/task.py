"""The training that all sides do: a classifier of made rows, from the same initial weights. NumPy only, as every side's
interpreter has it.

A row is one of 40 patterns under noise, four patterns a class, so that no linear model separates the classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURES, HIDDEN, CLASSES = 784, (128, 128), 10
SIZES = (FEATURES, *HIDDEN, CLASSES)
PATTERNS, SPREAD = 40, 0.25
"""SPREAD: of the patterns, beside noise of variance 1."""

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Task:
    """What is trained, the same for all sides.

    batch: rows of a step of one worker. threads: of one worker. rate: of plain SGD.
    """

    rows: int
    batch: int
    workers: int
    threads: int = 1
    rate: float = 0.1

    @property
    def steps(self) -> int:
        """In one epoch."""
        return -(-self.rows // (self.batch * self.workers))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def made(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features float32 [rows, 784] and labels int64 [rows]. The patterns are the same for all seeds."""
    patterns = np.random.default_rng(0).standard_normal((PATTERNS, FEATURES), dtype=np.float32) * SPREAD
    rng = np.random.default_rng((1, seed))
    chosen = rng.integers(0, PATTERNS, rows)
    return patterns[chosen] + rng.standard_normal((rows, FEATURES), dtype=np.float32), chosen % CLASSES


def initial() -> Arrays:
    """Weights float32 [inputs, outputs] and biases [outputs] of each layer in turn, after Glorot and Bengio (2010)."""
    rng = np.random.default_rng(2)
    arrays: list[NDArray[Any]] = []
    for inputs, outputs in pairwise(SIZES):
        bound = np.sqrt(6 / (inputs + outputs))
        arrays += [rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32), np.zeros(outputs, np.float32)]
    return tuple(arrays)


def accuracy(arrays: Arrays, features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Of the trained weights and biases, which any side gives in the order of `initial`."""
    values = features
    for weight, bias in zip(arrays[:-2:2], arrays[1:-2:2], strict=True):
        values = np.maximum(values @ weight + bias, 0)
    return float(((values @ arrays[-2] + arrays[-1]).argmax(1) == labels).mean())


def save(path: str | Path, arrays: Arrays) -> None:
    np.savez(path, *arrays)


def load(path: str | Path) -> Arrays:
    with np.load(path) as stored:
        return tuple(stored[name] for name in stored.files)
