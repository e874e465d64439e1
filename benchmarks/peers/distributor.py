"""The side of PySpark's TorchDistributor: DistributedDataParallel over the rows of its partition loader.

Both are private in Spark 4.3 (`_train_on_dataframe`, `_get_spark_partition_data_loader`), and what Spark's own
classifiers in pyspark.ml.connect train with. The settings are theirs: a DataFrame with as many partitions as workers,
an array column. The loader may read ahead in a process of its own, which "readers" turns on.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import side
import task
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession


def start(workers: int) -> dict[str, Any]:
    """Starts the session that all calls use."""
    builder = SparkSession.builder.master(f"local[{workers},8]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    # As in our session; without it a launch may wait 15 s.
    builder.config("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s").getOrCreate()
    return {"versions": {name: version(name) for name in ("pyspark", "torch", "pandas")}}


def fit(data: str, epochs: int, readers: int, asked: dict[str, Any]) -> dict[str, Any]:
    """One training, from the call to its end.

    Args:
        data: a folder of Parquet files. readers: processes of each worker that read ahead, 0 or 1.
    """
    wanted = task.Task(**asked)
    begin = time.time()
    frame = SparkSession.active().read.parquet(data).repartition(wanted.workers)
    distributor = TorchDistributor(num_processes=wanted.workers, local_mode=False, use_gpu=False)
    found = distributor._train_on_dataframe(train, frame, epochs, readers, asked)
    seconds = time.time() - begin
    weights = f"{data}.distributor.npz"
    task.save(weights, found["arrays"])
    noted = {name: found[name] - begin for name in ("first_step", "last_step")}
    return {"seconds": seconds, **noted, "cpu_between": found["cpu"], "weights": weights, "facts": found["facts"]}


def train(epochs: int, readers: int, asked: dict[str, Any]) -> dict[str, Any]:
    """What each worker runs."""
    import torch
    import torch.distributed as dist
    from pyspark.ml.torch.distributor import _get_spark_partition_data_loader
    from torch import nn

    wanted = task.Task(**asked)
    torch.set_num_threads(wanted.threads)
    dist.init_process_group("gloo")
    layers: list[nn.Module] = []
    arrays = [torch.from_numpy(array) for array in task.initial()]
    for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        layers += [linear, nn.ReLU()]
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*layers[:-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=wanted.rate)
    # One loader for all epochs: it begins again with the first row.
    share = wanted.rows // wanted.workers
    ahead = {"num_workers": readers, "prefetch_factor": 2 if readers else None}
    loader = _get_spark_partition_data_loader(share * epochs, wanted.batch, **ahead)
    rows = steps = 0
    first = last = cpu = last_cpu = 0.0
    for features, labels in loader:
        last, last_cpu = time.time(), time.process_time()
        if not steps:
            first, cpu = last, last_cpu
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features), labels).backward()
        optimizer.step()
        rows, steps = rows + len(labels), steps + 1
    told: list[Any] = [None] * wanted.workers
    dist.all_gather_object(told, (first, last, last_cpu - cpu, rows, torch.get_num_threads()))
    dist.destroy_process_group()
    firsts, lasts, cpus, counts, threads = zip(*told, strict=True)
    facts = {
        "rows of an epoch": sum(counts) / epochs,
        "steps of an epoch": steps / epochs,
        "workers": len(told),
        "threads of a worker": max(threads),
    }
    state = [value.numpy() for value in model.module.state_dict().values()]
    return {
        "arrays": [array.T for array in state],
        "first_step": max(firsts),
        "last_step": max(lasts),
        "cpu": sum(cpus),
        "facts": facts,
    }


if __name__ == "__main__":
    side.serve({"start": start, "fit": fit})
