"""What tests of the images recipe share: a small dataset."""

from __future__ import annotations

import pytest
from made_dataset import small_dataset

from echelon.data.manifest import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(tmp_path_factory.mktemp("images") / "dataset", {"train": 70, "test": 35})
