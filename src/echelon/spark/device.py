"""The device that a task of Spark computes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from echelon.device import AUTO, CPU, card_of, chosen_device, default_device
from echelon.errors import EchelonError

if TYPE_CHECKING:
    from pyspark.resource import ResourceInformation

Resources = Mapping[str, "ResourceInformation"]
GPU = "gpu"


def device_of(resources: Resources, place: int) -> torch.device:
    """The GPU that Spark gave a task, else one by its place among those of its host where there is any, else the CPU.

    An address is a number among the GPUs that torch sees, which CUDA_VISIBLE_DEVICES may have made fewer: Spark itself
    takes it for that (pyspark.ml.torch.distributor).

    Raises:
        EchelonError: what Spark gave is not the number of a device.
    """
    if GPU not in resources:
        return default_device(place)
    address = resources[GPU].addresses[0]
    if not address.isdigit():
        raise EchelonError(
            f"Spark gave this task the GPU '{address}', which is not a device number: "
            "let the discovery script of spark.worker.resource.gpu print device numbers"
        )
    return torch.device("cuda", int(address))


@contextmanager
def task_device(wanted: str = AUTO) -> Iterator[torch.device]:
    """The device of the ordinary task that runs here, for as long as it needs it.

    Where Spark gives none away, tasks that run on one host at the same time are spread over its GPUs.

    Args:
        wanted: as for `chosen_device`.

    Raises:
        EchelonError: a GPU is wanted, or was given by Spark, that torch does not see.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    resources: Resources = context.resources() if context is not None else {}
    count = torch.cuda.device_count()
    if wanted == "cpu" or GPU in resources or not count:
        yield chosen_device(wanted, CPU if wanted == "cpu" else device_of(resources, 0))
        return
    from echelon.spark.claim import claimed

    with claimed([card_of(torch.device("cuda", index)) for index in range(count)]) as index:
        yield torch.device("cuda", index)
