"""A dataset whose rows know their numbers, with row groups that nothing divides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from counted import ROWS, TEST_ROWS

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    schema = Schema((Column("number", "int64"), Column("weight", "float32", (64,))))
    rng = np.random.default_rng(3)
    splits = {
        split: [{"number": np.arange(rows), "weight": rng.standard_normal((rows, 64)).astype(np.float32)}]
        for split, rows in (("train", ROWS), ("test", TEST_ROWS))
    }
    return write_dataset(str(tmp_path_factory.mktemp("numbered") / "rows"), schema, splits, row_group_mb=0.004)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """What is trained here is small: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
