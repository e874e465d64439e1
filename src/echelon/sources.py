"""Data in the forms in which users have it, as a dataset."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from echelon.data.manifest import MANIFEST, Dataset, open_dataset
from echelon.data.storage import open_storage
from echelon.train.run import RunFolder


class Derived(ABC):
    """A dataset that is made of another one where it is needed, such as some of its rows for one training."""

    @abstractmethod
    def write(self, url: str) -> Dataset:
        """Writes it at a URL, in place of what a failure may have left there."""


if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Data = str | Path | Dataset | DataFrame | Derived


def dataset_of(data: Data, home: str, *, reuse: bool = False) -> Dataset:
    """Data as a dataset; the manifest of Parquet files, rows of a DataFrame and what is derived are put into `home`.

    Args:
        reuse: take the rows of a DataFrame, or what is derived, that were written there before.

    Raises:
        EchelonError: there is neither a dataset nor Parquet at the URL, or it cannot be used as one.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        if url_of(data, home) != home:
            return open_dataset(str(data))
        from echelon.data.adopt import adopt

        return adopt(str(data), home, overwrite=True)
    if reuse and open_storage(home).exists(MANIFEST):
        return open_dataset(home)
    if isinstance(data, Derived):
        return data.write(home)
    from echelon.spark.frame import write_frame

    return write_frame(data, home, overwrite=True)


def url_of(data: Data, home: str) -> str:
    """Where `dataset_of` has the dataset."""
    if isinstance(data, Dataset):
        return data.url
    if isinstance(data, str | Path) and open_storage(data).exists(MANIFEST):
        return open_storage(data).url
    return home


@contextmanager
def borrowed(data: Data, folder: RunFolder) -> Iterator[Dataset]:
    """Data as a dataset for a while."""
    home = f"scratch/{uuid.uuid4().hex}"
    try:
        yield dataset_of(data, folder.storage.url_of(home))
    finally:
        folder.storage.delete_tree(home)
