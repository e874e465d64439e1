"""Which device a task of Spark computes on."""

from __future__ import annotations

import pytest
import torch
from pyspark.resource import ResourceInformation

from echelon.errors import EchelonError
from echelon.spark.device import device_of
from echelon.world import default_device


def test_the_gpu_that_spark_gave_is_taken() -> None:
    given = {"gpu": ResourceInformation("gpu", ["3"])}
    assert device_of(given, 0) == device_of(given, 1) == torch.device("cuda", 3)


def test_without_one_it_is_that_of_the_place() -> None:
    assert device_of({}, 5) == default_device(5)


def test_a_gpu_that_is_no_number_is_named() -> None:
    with pytest.raises(EchelonError, match="the GPU 'GPU-1a2b', which is not a device number"):
        device_of({"gpu": ResourceInformation("gpu", ["GPU-1a2b"])}, 0)
