"""The manifest of a dataset: which files belong to it and what they hold. It is written last, so it is the commit.

Data files lie at split=<name>/part-….parquet, so that Spark, pandas and DuckDB read the folder as one table with a
column "split". A folder without a readable manifest is not a dataset.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from echelon.data.schema import Schema
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError

MANIFEST = "_manifest.json"
WRITING = "_writing.json"
FORMAT_VERSION = 1


def digest_of(content: bytes) -> str:
    """The digest that manifests carry: SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class RowGroup:
    """Rows that are read together. bytes: of the row group when it is uncompressed."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class DataFile:
    """One Parquet file. path: within the data's folder. size: bytes. digest: of its footer."""

    path: str
    size: int
    digest: str
    row_groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.row_groups)

    def to_json(self) -> dict[str, Any]:
        groups = [[group.rows, group.bytes] for group in self.row_groups]
        return {"path": self.path, "size": self.size, "digest": self.digest, "row_groups": groups}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DataFile:
        groups = tuple(RowGroup(rows, size) for rows, size in value["row_groups"])
        return cls(value["path"], value["size"], value["digest"], groups)


@dataclass(frozen=True)
class Asset:
    """An array that belongs to the dataset, such as its mean image. size, digest: of the whole .npy file."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What a dataset consists of.

    splits: by name the data files in order; a row's number counts through them.
    info: whatever the writer wants to say, as JSON (class names, counts of broken inputs).
    shuffled: whether the rows were shuffled over the whole split when they were written.
    data_url: the folder of the data files where they were adopted in place; "" where they lie beside the manifest.
    """

    schema: Schema
    splits: Mapping[str, tuple[DataFile, ...]]
    info: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, Asset] = field(default_factory=dict)
    shuffled: bool = False
    data_url: str = ""

    def files(self, split: str) -> tuple[DataFile, ...]:
        """The data files of a split.

        Raises:
            DataError: there is no such split; the message names those that there are.
        """
        if split not in self.splits:
            raise DataError(f"no split '{split}' in this dataset; there are: {', '.join(self.splits) or 'none'}")
        return self.splits[split]

    def rows(self, split: str) -> int:
        return sum(file.rows for file in self.files(split))

    @cached_property
    def digest(self) -> str:
        """Of everything in the manifest but where files lie, and through their own digests of every data file.

        The same rows in the same files have it again, wherever they are copied and however often they are written.
        """
        content = self.to_json()
        del content["data_url"]
        for entry in (*content["assets"].values(), *(file for files in content["splits"].values() for file in files)):
            del entry["path"]
        return digest_of(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())

    def to_json(self) -> dict[str, Any]:
        return {
            "format": "echelon dataset",
            "version": FORMAT_VERSION,
            "schema": self.schema.to_json(),
            "splits": {split: [file.to_json() for file in files] for split, files in self.splits.items()},
            "info": dict(self.info),
            "assets": {name: asdict(asset) for name, asset in self.assets.items()},
            "shuffled": self.shuffled,
            "data_url": self.data_url,
        }

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """
        Raises:
            DataError: this is no manifest, or one of a version that this Echelon cannot read.
        """
        version = value.get("version") if isinstance(value, dict) else None
        if not isinstance(value, dict) or value.get("format") != "echelon dataset":
            raise DataError("it does not describe a dataset of Echelon")
        if version != FORMAT_VERSION:
            raise DataError(
                f"it has version {version}, this Echelon reads version {FORMAT_VERSION}: "
                "use the Echelon that wrote it, or prepare the dataset again"
            )
        try:
            return cls(
                schema=Schema.from_json(value["schema"]),
                splits={split: tuple(map(DataFile.from_json, files)) for split, files in value["splits"].items()},
                info=value["info"],
                assets={name: Asset(**asset) for name, asset in value["assets"].items()},
                shuffled=bool(value["shuffled"]),
                data_url=value["data_url"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"it is damaged ({error!r})") from None


@dataclass(frozen=True)
class Dataset:
    """A committed dataset: what its manifest says, and where its files are. Can be pickled."""

    storage: Storage
    manifest: Manifest

    @property
    def url(self) -> str:
        return self.storage.url

    @property
    def schema(self) -> Schema:
        return self.manifest.schema

    @property
    def info(self) -> Mapping[str, Any]:
        return self.manifest.info

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.manifest.splits)

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def rows(self, split: str) -> int:
        return self.manifest.rows(split)

    @cached_property
    def data(self) -> Storage:
        """The folder that the paths of the data files are relative to."""
        return open_storage(self.manifest.data_url) if self.manifest.data_url else self.storage

    def asset(self, name: str) -> np.ndarray:
        """An array that was stored with the dataset.

        Raises:
            DataError: there is none of this name, or its file is missing or was changed.
        """
        asset = self.manifest.assets.get(name)
        if asset is None:
            raise DataError(f"no asset '{name}' in {self.url}; there are: {', '.join(self.manifest.assets) or 'none'}")
        try:
            content = self.storage.read(asset.path)
        except FileNotFoundError as error:
            raise DataError(f"{error}, which belongs to this dataset: prepare it again") from None
        if digest_of(content) != asset.digest:
            raise DataError(f"{self.storage.url_of(asset.path)} was changed since the dataset was written")
        return np.load(io.BytesIO(content), allow_pickle=False)


def open_dataset(url: str) -> Dataset:
    """The dataset at a URL.

    Raises:
        DataError: there is no manifest, or not one that can be read; the message says what to do.
    """
    storage = open_storage(url)
    try:
        return Dataset(storage, Manifest.from_json(storage.read_json(MANIFEST)))
    except FileNotFoundError:
        raise DataError(_why_no_dataset(storage)) from None
    except DataError as error:
        if storage.exists(WRITING):
            raise DataError(_why_no_dataset(storage)) from None
        raise DataError(f"the manifest {storage.url_of(MANIFEST)} cannot be used: {error}") from None


def _why_no_dataset(storage: Storage) -> str:
    if storage.exists(WRITING):
        return (
            f"{storage.url} is half-written: its writer is still at work or was killed. "
            "Wait for it, or run it again; it starts afresh"
        )
    if storage.list(recursive=False) or storage.list():
        return f"{storage.url} is not a dataset (no {MANIFEST}): prepare one from these files, or adopt plain Parquet"
    return f"there is nothing at {storage.url}: check the path, or prepare the dataset first"
