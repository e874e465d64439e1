"""Beginning and ending the writing of a dataset, so that a half-written one is never taken for whole.

A marker says that a writer is at work and the manifest, written last, that it is done. Nothing is renamed. What a
killed writer left is cleared by the next one.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from echelon.data.manifest import MANIFEST, WRITING, Asset, DataFile, Dataset, Manifest, digest_of
from echelon.data.schema import Schema
from echelon.data.storage import Storage
from echelon.errors import DataError

_ASSETS = "_assets"
"""Spark, pandas and DuckDB leave out what begins with an underscore."""
SCRATCH = "_scratch"
"""The folder within a dataset's own for what is only needed while it is written."""
RECEIPTS = "_receipts"
"""The folder for what is known of parts that are written, until the dataset is whole."""


def start(storage: Storage, overwrite: bool = False, *, plan: str | None = None) -> None:
    """Make a folder ready for a new dataset: from here to `commit` there is none at its URL.

    What a killed writer left is deleted, and with `overwrite` the dataset that is there. Anything else is not touched.
    plan: stands in the marker, for one that wants to go on.

    Raises:
        DataError: as in `check_free`.
    """
    present = check_free(storage, overwrite)
    # The marker comes before anything is deleted and outlives it: killed in between, the folder is known as ours.
    marker = {"started": datetime.now(UTC).isoformat(timespec="seconds"), **({"plan": plan} if plan else {})}
    storage.write_json(WRITING, marker)
    if MANIFEST in present:
        storage.delete(MANIFEST)
    for folder in sorted({path.split("/")[0] for path in present if "/" in path}):
        if folder.startswith("split=") or folder in (_ASSETS, SCRATCH, RECEIPTS):
            storage.delete_tree(folder)


def check_free(storage: Storage, overwrite: bool = False) -> set[str]:
    """Look whether a dataset may be written to a folder; the paths of the files that are there.

    Raises:
        DataError: there is a dataset and `overwrite` is not set, or there are files that no writer of datasets left.
    """
    present = {entry.path for entry in storage.list()}
    if MANIFEST in present and not overwrite and _is_whole(storage):
        raise DataError(
            f"there is already a dataset at {storage.url}: choose another folder, or say that it may be overwritten"
        )
    foreign = sorted(present - {MANIFEST, WRITING})
    if foreign and not _is_ours(storage, present):
        raise DataError(
            f"{storage.url} holds other files ({foreign[0]}, {len(foreign)} in all): "
            "choose an empty folder for the dataset"
        )
    return present


def commit(
    storage: Storage,
    schema: Schema,
    splits: Mapping[str, tuple[DataFile, ...]],
    info: Mapping[str, Any] | None = None,
    assets: Mapping[str, Asset] | None = None,
    shuffled: bool = False,
    data_url: str = "",
    before: Callable[[Dataset], None] | None = None,
) -> Dataset:
    """Make the files that were written the dataset at a URL. Arguments as the fields of `Manifest`.

    Data files of attempts that do not count are deleted first.

    before: called with the dataset while it still counts as half-written, for what shall be there whenever it is.

    Raises:
        DataError: there are no rows at all, a file cannot be seen here, or `info` cannot be JSON.
    """
    if not any(file.rows for files in splits.values() for file in files):
        raise DataError(f"no rows were written to {storage.url}: a dataset needs at least one")
    check_info(info or {})
    manifest = Manifest(schema, dict(splits), dict(info or {}), dict(assets or {}), shuffled, data_url)
    present = {entry.path: entry.size for entry in storage.list()}
    counted = {file.path: file.size for files in splits.values() for file in files}
    if not data_url:
        _check_present(storage, counted, present)
    for path in present:
        if path.startswith("split=") and path not in counted:
            storage.delete(path)
    dataset = Dataset(storage, manifest)
    if before is not None:
        before(dataset)
    storage.write_json(MANIFEST, manifest.to_json())
    if any(path.startswith(f"{RECEIPTS}/") for path in present):
        storage.delete_tree(RECEIPTS)
    storage.delete(WRITING)
    return dataset


def _check_present(storage: Storage, counted: Mapping[str, int], present: Mapping[str, int]) -> None:
    """
    Raises:
        DataError: files that workers say they wrote are not here, or have another size. Their hosts have another
            folder of this name.
    """
    unseen = [path for path, size in counted.items() if present.get(path) != size]
    if unseen:
        raise DataError(
            f"{len(unseen)} of {len(counted)} files of {storage.url}, such as {unseen[0]}, were written by workers but "
            "cannot be seen here: use a folder that all hosts share, such as s3://, hdfs:// or a network file system"
        )


def write_asset(storage: Storage, name: str, array: np.ndarray) -> Asset:
    """Store an array that belongs to the dataset.

    Raises:
        DataError: the name cannot be that of a file, or the array does not hold numbers.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise DataError(f"an asset cannot be called '{name}': use letters, digits, '_', '-' and '.'")
    if array.dtype.hasobject:
        raise DataError(f"the asset '{name}' holds {array.dtype}: only arrays of numbers can be kept")
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    content, path = file.getvalue(), asset_path(name)
    storage.write(path, content)
    return Asset(path, len(content), digest_of(content))


def asset_path(name: str) -> str:
    """Where the asset of a name lies within its dataset."""
    return f"{_ASSETS}/{name}.npy"


def check_info(info: Mapping[str, Any]) -> None:
    """
    Raises:
        DataError: it cannot be written as JSON.
    """
    try:
        json.dumps(info, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"the dataset's info must be JSON: {error}") from None


def _is_whole(storage: Storage) -> bool:
    try:
        return bool(Manifest.from_json(storage.read_json(MANIFEST)))
    except DataError:
        return False


def _is_ours(storage: Storage, present: set[str]) -> bool:
    """Whether the files were left by a writer of datasets: a marker or a manifest of files beside it says so."""
    if WRITING in present:
        return True
    try:
        return MANIFEST in present and not Manifest.from_json(storage.read_json(MANIFEST)).data_url
    except DataError:
        return False
