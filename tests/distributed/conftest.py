"""A small dataset that nothing divides: 203 and 57 rows in several row groups."""

from __future__ import annotations

from collections.abc import Iterator

import learners
import numpy as np
import pytest
import torch
from learners import FEATURES, FEW_ROWS, TEST_ROWS, TRAIN_ROWS, VOCABULARY

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    schema = Schema(
        (Column("x", "float32", (FEATURES,)), Column("y", "float32"), Column("label", "int64"),
         Column("tokens", "int32", (None,)))
    )  # fmt: skip
    rng = np.random.default_rng(7)
    url = str(tmp_path_factory.mktemp("dataset") / "small")
    sizes = {"train": TRAIN_ROWS, "test": TEST_ROWS, "few": FEW_ROWS}
    splits = {split: [_rows(rng, rows)] for split, rows in sizes.items()}
    return write_dataset(url, schema, splits, row_group_mb=0.004)


def _rows(rng: np.random.Generator, count: int) -> dict:
    x = rng.standard_normal((count, FEATURES)).astype(np.float32) + 2
    y = (x @ np.linspace(-1, 1, FEATURES) + 0.1 * rng.standard_normal(count)).astype(np.float32)
    tokens = [rng.integers(0, VOCABULARY, rng.integers(2, 30)).astype(np.int32) for _ in range(count)]
    return {"x": x, "y": y, "label": np.digitize(y, [-1, 1]).astype(np.int64), "tokens": tokens}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Oracles are small: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nothing_consumed() -> None:
    """Oracles note rows too."""
    learners.consumed.clear()
