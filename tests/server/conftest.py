"""A dataset whose rows know their numbers, with row groups that nothing divides."""

from __future__ import annotations

import numpy as np
import pytest
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
