"""Writing a dataset from one process, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from echelon.data.cells import encode
from echelon.data.commit import check_info, commit, start, write_asset
from echelon.data.compression import check_compression
from echelon.data.manifest import DataFile, Dataset
from echelon.data.part_writer import PartWriter, Regroup, check_split
from echelon.data.schema import Schema, Values
from echelon.data.shuffle import shuffled
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError

__all__ = ["PartWriter", "commit", "start", "write_asset", "write_dataset"]

_PART_BYTES = 256 << 20
_ENCODE_BYTES = 16 << 20
_ENCODE_ROWS = 4096


def write_dataset(
    url: str,
    schema: Schema,
    splits: Mapping[str, Iterable[Mapping[str, Values]]],
    *,
    shuffle_seed: int | None = 0,
    row_group_mb: float = 4,
    compression: str = "zstd",
    info: Mapping[str, Any] | None = None,
    assets: Mapping[str, np.ndarray] | None = None,
    overwrite: bool = False,
    memory_mb: float = 512,
) -> Dataset:
    """Write a dataset and commit it. The same rows and seed give the same files.

    Args:
        splits: by name an iterable of batches of rows: for every column its values, as `cells.encode` takes them.
        shuffle_seed: rows are shuffled over their whole split, so that input sorted by class is no trap; None keeps
            their order.
        row_group_mb: rows that are read together. compression: a codec of Parquet for the columns that it makes
            smaller, see `compression.codecs`, or "none".
        info: what else there is to say, as JSON. assets: arrays that belong to the dataset.
        overwrite: whether a dataset at this URL may be replaced.
        memory_mb: rows that are held for the shuffle; more wait in temporary files without names (see TMPDIR).

    Raises:
        DataError: there is a dataset already or the folder holds other files, rows do not fit the schema, or there
            are none. StorageError: the storage fails or is full.
    """
    for split in splits:
        check_split(split)
    check_compression(compression)
    check_info(info or {})
    if shuffle_seed is not None and shuffle_seed < 0:
        raise DataError(f"the seed of the shuffle must not be negative, got {shuffle_seed}")
    storage = open_storage(url)
    start(storage, overwrite)
    files: dict[str, tuple[DataFile, ...]] = {}
    for split, rows in splits.items():
        batches = _encoded(schema, rows)
        if shuffle_seed is not None:
            batches = shuffled(batches, shuffle_seed, int(memory_mb * 2**20))
        files[split] = _write_split(storage, split, schema, batches, row_group_mb, compression)
    stored = {name: write_asset(storage, name, np.asarray(array)) for name, array in (assets or {}).items()}
    return commit(storage, schema, files, info, stored, shuffled=shuffle_seed is not None)


def _encoded(schema: Schema, rows: Iterable[Mapping[str, Values]]) -> Iterator[pa.RecordBatch]:
    """Record batches of moderate size, whatever the size of those that are given."""
    fixed = sum(column.cell_bytes for column in schema.columns if not column.is_string)
    step = max(1, min(_ENCODE_ROWS, _ENCODE_BYTES // max(fixed, 1)))
    for batch in rows:
        length = max((len(values) for values in batch.values()), default=0)
        for first in range(0, max(length, 1), step):
            yield encode(schema, {name: values[first : first + step] for name, values in batch.items()})


def _write_split(
    storage: Storage,
    split: str,
    schema: Schema,
    batches: Iterable[pa.RecordBatch],
    row_group_mb: float,
    compression: str,
) -> tuple[DataFile, ...]:
    """Part after part; each ends with a whole row group, so that only the split's last one is smaller."""
    files: list[DataFile] = []
    writer: PartWriter | None = None
    for group in _groups(schema, batches, int(row_group_mb * 2**20)):
        if writer is None:
            writer = PartWriter(storage, split, schema, len(files), row_group_mb=row_group_mb, compression=compression)
        writer.write_group(group)
        if writer.bytes >= _PART_BYTES:
            files.append(writer.close())
            writer = None
    if writer is not None:
        files.append(writer.close())
    return tuple(files)


def _groups(schema: Schema, batches: Iterable[pa.RecordBatch], target_bytes: int) -> Iterator[pa.Table]:
    regroup = Regroup(schema, target_bytes)
    for batch in batches:
        yield from regroup.push(batch)
    yield from regroup.rest()
