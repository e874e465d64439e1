"""A real Spark inside the test's process, for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """local[2,8]: two slots, and eight tries of a task."""
    made = session("local[2,8]", workers=2)
    yield made
    made.stop()
