"""Taking plain Parquet as a dataset where it lies: a manifest is written elsewhere, the files are not touched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from echelon.data.cells import decode
from echelon.data.commit import commit, start
from echelon.data.manifest import DataFile, Dataset
from echelon.data.part_writer import check_split
from echelon.data.parts import data_file_of, describe_part
from echelon.data.schema import STRING, Column, Schema
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError

_HIVE_SPLIT = "split="
_FOOTERS_AT_ONCE = 16
_LOOK_AT_ROWS = 1000
_LOOK_AT_BYTES = 1 << 20


@dataclass(frozen=True)
class _Found:
    """A Parquet file as its footer describes it."""

    file: DataFile
    metadata: pq.FileMetaData
    schema: pa.Schema


def adopt(
    parquet_url: str | os.PathLike[str],
    manifest_url: str | os.PathLike[str],
    columns: Iterable[str | Column] | None = None,
    split: str = "train",
    overwrite: bool = False,
) -> Dataset:
    """Make a dataset of Parquet files in place, in the order of their paths and rows.

    Rows are not shuffled over the whole split, and row groups stay as large as they are: where the input is sorted or
    its row groups have more than some MB, write a dataset of it instead.

    Args:
        parquet_url: a folder or one file. Names that begin with "_" or "." are left out.
        manifest_url: an empty folder for the manifest.
        columns: which columns; default all. A number, a string or a list of numbers explains itself. Binary cells need
            a `Column` that says what they hold. Lists of equal length are taken as tensors of fixed shape; a `Column`
            with the shape (None,) says that their length varies.
        split: the split of files that do not lie in a folder split=<name>.
        overwrite: whether a dataset at `manifest_url` may be replaced.

    Raises:
        DataError: there are no Parquet files, they differ in their columns, or a column cannot be understood.
    """
    check_split(split)
    storage, found = _find(parquet_url)
    schema = Schema(tuple(_columns(storage, found, columns)))
    _check_files(storage, found, schema)
    _look(storage, found, schema)
    splits: dict[str, tuple[DataFile, ...]] = {}
    for each in found:
        name = _split_of(each.file.path, split)
        splits[name] = (*splits.get(name, ()), each.file)
    target = open_storage(manifest_url)
    start(target, overwrite)
    return commit(target, schema, splits, data_url=storage.url)


def _find(url: str | os.PathLike[str]) -> tuple[Storage, list[_Found]]:
    """The folder, and the Parquet files in it or the one that was named."""
    folder, name = _parted(os.fspath(url).rstrip("/"))
    storage, paths = open_storage(folder), [name]
    if not (name.endswith(".parquet") and storage.exists(name)):
        storage = open_storage(url)
        paths = [entry.path for entry in storage.list() if _is_data(entry.path)]
    if not paths:
        raise DataError(f"there are no Parquet files at {storage.url}: check the path")

    def describe(path: str) -> _Found:
        digest, size, metadata, schema = describe_part(storage, path)
        return _Found(data_file_of(path, digest, size, metadata), metadata, schema)

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return storage, list(pool.map(describe, paths))


def _parted(url: str) -> tuple[str, str]:
    """The folder of a URL, and its last name."""
    if "://" not in url:
        return os.path.dirname(url) or ".", os.path.basename(url)
    parts = urlsplit(url)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return parts._replace(path=folder).geturl(), unquote(name)


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and not any(part.startswith(("_", ".")) for part in path.split("/"))


def _split_of(path: str, default: str) -> str:
    names = [part.removeprefix(_HIVE_SPLIT) for part in path.split("/")[:-1] if part.startswith(_HIVE_SPLIT)]
    for name in names:
        check_split(name)
    return names[-1] if names else default


def _columns(storage: Storage, found: list[_Found], wanted: Iterable[str | Column] | None) -> Iterable[Column]:
    """What the columns hold, from the first file's schema and every file's footer."""
    schema = found[0].schema
    for column in schema.names if wanted is None else wanted:
        name = column.name if isinstance(column, Column) else column
        if schema.get_field_index(name) < 0:
            url = storage.url_of(found[0].file.path)
            raise DataError(f"no column '{name}' in {url}; there are: {', '.join(schema.names)}")
        yield column if isinstance(column, Column) else _infer(schema.field(name), found)


def _infer(field: pa.Field, found: list[_Found]) -> Column:
    """
    Raises:
        DataError: the type does not say what a row holds.
    """
    if said := Column.from_field(field):
        return said
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Column(field.name, STRING)
    if _is_number(kind):
        return Column(field.name, _dtype(kind))
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        return Column(field.name, _dtype(kind.value_type), (kind.list_size,))
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_number(kind.value_type):
        return Column(field.name, _dtype(kind.value_type), (_common_length(field.name, found),))
    example = f"Column('{field.name}', 'float32', (3, 32, 32))"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise DataError(f"column '{field.name}' holds binary cells: say what is in them, as in columns=[{example}, …]")
    raise DataError(
        f"column '{field.name}' has the type {field.type}, which is no tensor: name the columns that you need, "
        "or write this one as a list of numbers"
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _dtype(kind: pa.DataType) -> str:
    return np.dtype(kind.to_pandas_dtype()).name


def _common_length(name: str, found: list[_Found]) -> int | None:
    """The length of every list of a column, or None where the footers already show that lengths differ."""
    lengths: set[float] = set()
    for each in found:
        chunks = [
            i for i in range(each.metadata.num_columns) if each.metadata.schema.column(i).path.startswith(f"{name}.")
        ]
        for group in map(each.metadata.row_group, range(each.metadata.num_row_groups)):
            lengths |= {group.column(i).num_values / group.num_rows for i in chunks if group.num_rows}
    length = lengths.pop() if len(lengths) == 1 else 0.0
    return int(length) if length >= 1 and length.is_integer() else None


def _check_files(storage: Storage, found: list[_Found], schema: Schema) -> None:
    """
    Raises:
        DataError: a file lacks a column, has it with another type, or says that it has nulls in it.
    """
    first = found[0]
    for each in found:
        url = storage.url_of(each.file.path)
        for name in schema.names:
            index = each.schema.get_field_index(name)
            if index < 0:
                raise DataError(f"{url} has no column '{name}', which {storage.url_of(first.file.path)} has")
            here, there = each.schema.field(index).type, first.schema.field(name).type
            if here != there:
                raise DataError(
                    f"column '{name}' has the type {here} in {url}, but {there} in {storage.url_of(first.file.path)}"
                )
            if nulls := _nulls(each.metadata, name):
                raise DataError(f"column '{name}' has {nulls} nulls in {url}: fill them or leave those rows out")


def _nulls(metadata: pq.FileMetaData, name: str) -> int:
    """Nulls in a column that is no list, as far as the footer has statistics."""
    chunks = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path == name]
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    found = (group.column(i).statistics for group in groups for i in chunks)
    return sum(statistics.null_count or 0 for statistics in found if statistics is not None)


def _look(storage: Storage, found: list[_Found], schema: Schema) -> None:
    """Decode the first rows, so that a wrong shape or type is an error now and not in training."""
    first = next((each for each in found if each.file.rows), None)
    if first is None:
        raise DataError(f"the Parquet files at {storage.url} have no rows")
    with storage.open_input(first.file.path) as source:
        # Without a buffer all of a row group is read for the sake of its first rows.
        parquet = pq.ParquetFile(source, buffer_size=_LOOK_AT_BYTES, pre_buffer=False)
        batches = parquet.iter_batches(_LOOK_AT_ROWS, columns=list(schema.names), use_threads=False)
        try:
            decode(schema, next(batches))
        except DataError as error:
            raise DataError(f"{storage.url_of(first.file.path)}: {error}") from None
