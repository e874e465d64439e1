"""The device that a task of Spark computes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from echelon.errors import EchelonError
from echelon.world import default_device

if TYPE_CHECKING:
    from pyspark.resource import ResourceInformation


def device_of(resources: Mapping[str, ResourceInformation], place: int) -> torch.device:
    """The GPU that Spark gave a task, else one by its place among those of its host where there is any, else the CPU.

    Raises:
        EchelonError: what Spark gave is not the number of a device.
    """
    if "gpu" not in resources:
        return default_device(place)
    address = resources["gpu"].addresses[0]
    if not address.isdigit():
        raise EchelonError(
            f"Spark gave this task the GPU '{address}', which is not a device number: "
            "let the discovery script of spark.worker.resource.gpu print device numbers"
        )
    return torch.device("cuda", int(address))


def task_device() -> torch.device:
    """The device of the ordinary task that runs here. Its place on its host is not known: its number stands for it."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return device_of(context.resources(), context.partitionId()) if context is not None else default_device()
