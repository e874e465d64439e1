"""What a task of ours begins with: the driver's closure holds bytes, so that the task decides how they are unpacked."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Packed:
    """Values on their way to a new Python process.

    imports: modules that are loaded beside those that the values need.
    """

    data: bytes
    imports: tuple[str, ...] = ()

    def unpacked(self) -> Any:
        """The values, after all imports that they need."""
        # Importing torch makes a million objects that stay: looking for garbage among them takes a fifth of the time.
        with _without_collection():
            value = pickle.loads(self.data)
            for name in self.imports:
                import_module(name)
            return value


def pack(value: object, imports: tuple[str, ...] = ()) -> Packed:
    """
    Raises:
        TypeError, AttributeError, PickleError: the value cannot be sent.
    """
    from pyspark import cloudpickle

    return Packed(cloudpickle.dumps(value), imports)


@contextmanager
def _without_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_settled = False


def settle() -> None:
    """When a process's first task has imported all: keeps that out of all later garbage collections.

    pyspark collects after every task, which would walk through some hundred thousand objects each time.
    """
    global _settled
    if not _settled:
        _settled = True
        gc.freeze()
