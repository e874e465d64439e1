"""Echelon trains PyTorch models on the Apache Spark cluster where the data already is, or on one laptop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echelon.api import Run, fit, load
    from echelon.data.batch import Batch
    from echelon.data.keyed import Draw
    from echelon.data.manifest import Dataset, open_dataset
    from echelon.data.schema import Column, Schema
    from echelon.data.write import write_dataset
    from echelon.errors import EchelonError
    from echelon.sync.allreduce import AllReduce
    from echelon.sync.averaging import Averaging
    from echelon.train.config import RunConfig
    from echelon.train.learner import Learner

__version__ = "0.1.0"

_HOMES = {
    "AllReduce": "echelon.sync.allreduce",
    "Averaging": "echelon.sync.averaging",
    "Batch": "echelon.data.batch",
    "Column": "echelon.data.schema",
    "Dataset": "echelon.data.manifest",
    "Draw": "echelon.data.keyed",
    "EchelonError": "echelon.errors",
    "Learner": "echelon.train.learner",
    "Run": "echelon.api",
    "RunConfig": "echelon.train.config",
    "Schema": "echelon.data.schema",
    "fit": "echelon.api",
    "load": "echelon.api",
    "open_dataset": "echelon.data.manifest",
    "write_dataset": "echelon.data.write",
}

__all__ = [
    "AllReduce",
    "Averaging",
    "Batch",
    "Column",
    "Dataset",
    "Draw",
    "EchelonError",
    "Learner",
    "Run",
    "RunConfig",
    "Schema",
    "fit",
    "load",
    "open_dataset",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    # Imported when first used: a process that only reads data does not wait for the whole of training to load.
    if name not in _HOMES:
        raise AttributeError(f"module 'echelon' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
