"""What tests of the images recipe share: a small dataset, and a Spark to prepare others with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from made_dataset import small_dataset

from echelon.data.manifest import Dataset
from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("images") / "dataset", {"train": 70, "test": 35})


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    made = session("local[2,8]", workers=2)
    yield made
    made.stop()
