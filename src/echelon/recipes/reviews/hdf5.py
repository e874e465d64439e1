"""The old HDF5 layout: tables of integers, a review a row, of word ids filled up with 1 (pad) and then its label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.data.storage import Storage
from echelon.errors import DataError, EchelonError
from echelon.recipes.reviews.columns import LABEL, PAD, TOKENS

if TYPE_CHECKING:
    import h5py

_ROWS = 4096


@contextmanager
def opened(storage: Storage, path: str) -> Iterator[h5py.File]:
    """An HDF5 file for reading.

    Raises:
        DataError: it is none, or is damaged. EchelonError: h5py is not installed.
    """
    h5py = _h5py()
    with storage.open_input(path) as content:
        try:
            file = h5py.File(content, "r")
        except OSError as error:
            raise DataError(f"{storage.url_of(path)} cannot be read as HDF5: {error}") from None
        with file:
            yield file


def tables_of(file: Any) -> dict[str, tuple[int, int]]:
    """The tables of a file by name: rows, and columns, which are ids and a label."""
    h5py = _h5py()
    found: dict[str, tuple[int, int]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.shape[1] > 1 and item.dtype.kind in "iu":
            found[name] = item.shape

    file.visititems(visit)
    return found


def lengths_of(ids: NDArray) -> NDArray[np.int64]:
    """How many ids stand before the padding, int64 [n]. ids: integers [n, length]."""
    filled = ids != PAD
    return np.where(filled.any(axis=1), ids.shape[1] - filled[:, ::-1].argmax(axis=1), 0).astype(np.int64)


def export_hdf5(dataset: Dataset, path: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Writes each split of a dataset of reviews as a table of its name, int32 [rows, length + 1], in bounded memory.

    Args:
        overwrite: whether a file that is there may be replaced.

    Returns:
        The number of rows of each.

    Raises:
        DataError: it is not a dataset of reviews, or there is a file already. EchelonError: h5py is not installed, or
        the file cannot be written.
    """
    h5py = _h5py()
    if path.exists() and not overwrite:
        raise DataError(f"there is already a file {path}: choose another name, or say that it may be overwritten")
    if not {TOKENS, LABEL} <= set(dataset.schema.names):
        raise DataError(f"{dataset.url} is not a dataset of reviews: write one with 'echelon reviews prepare'")
    (length,) = dataset.schema.column(TOKENS).inner
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(unfinished, "w") as file:
            for split in dataset.splits:
                _write_split(file, dataset, split, length)
        os.replace(unfinished, path)
    except OSError as error:
        raise EchelonError(f"cannot write {path}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return {split: dataset.rows(split) for split in dataset.splits}


def _write_split(file: Any, dataset: Dataset, split: str, length: int) -> None:
    rows = dataset.rows(split)
    chunk = (min(_ROWS, max(rows, 1)), length + 1)
    table = file.create_dataset(split, (rows, length + 1), np.int32, chunks=chunk, compression="gzip")
    for batch in span_batches(dataset, split, (TOKENS, LABEL), 0, rows, _ROWS):
        first = int(batch.rows[0])
        both = [batch[TOKENS].numpy().astype(np.int32), batch[LABEL].numpy().astype(np.int32)[:, None]]
        table[first : first + len(batch)] = np.concatenate(both, axis=1)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise EchelonError("HDF5 needs h5py: pip install 'echelon[hdf5]'") from None
    return h5py
