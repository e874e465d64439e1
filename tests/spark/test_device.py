"""Which device a task of Spark computes on."""

from __future__ import annotations

import pytest
import torch
from pyspark.resource import ResourceInformation

from echelon.device import CPU, default_device
from echelon.errors import EchelonError
from echelon.spark.device import device_of, task_device


def test_the_gpu_that_spark_gave_is_taken() -> None:
    given = {"gpu": ResourceInformation("gpu", ["3"])}
    assert device_of(given, 0) == device_of(given, 1) == torch.device("cuda", 3)


def test_without_one_it_is_that_of_the_place() -> None:
    assert device_of({}, 5) == default_device(5)


def test_a_gpu_that_is_no_number_is_named() -> None:
    with pytest.raises(EchelonError, match="the GPU 'GPU-1a2b', which is not a device number"):
        device_of({"gpu": ResourceInformation("gpu", ["GPU-1a2b"])}, 0)


def test_outside_of_a_task_and_without_a_gpu_it_is_the_cpu() -> None:
    with task_device("cpu") as device:
        assert device == CPU
    if not torch.cuda.is_available():
        with task_device() as device:
            assert device == CPU
        with pytest.raises(EchelonError, match="needs a GPU"), task_device("cuda"):
            pass


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees fewer than two GPUs on this machine")
def test_tasks_of_one_time_have_gpus_of_their_own() -> None:
    with task_device() as first, task_device() as second:
        assert first != second
