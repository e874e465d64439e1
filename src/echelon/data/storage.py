"""One folder somewhere: on a disk, in an object store or in HDFS, always with the same few operations.

Object stores have neither rename nor folders, so nothing relies on them: there a file appears whole when its writer is
closed, and what belongs together is committed by a manifest that is written last. Only on a disk, where a file is there
from its first byte on, small files are written beside their place and then put into it.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from echelon.data.objects import ObjectServer
from echelon.errors import DataError, StorageError

_UNFINISHED = re.compile(r"(?:.*/)?\.[^/]+\.[0-9a-f]{32}\.unfinished")
_SCHEMES = ("file", "s3", "hdfs", "gs", "abfs", "abfss")


@dataclass(frozen=True)
class Entry:
    """A file in a storage. path: relative to the storage's folder. size: bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Storage:
    """A folder at a URL. Made by `open_storage`; pickled as its URL.

    All paths are relative to the folder, with "/". A missing file is a FileNotFoundError and every other failure a
    StorageError; both name the whole URL.
    """

    url: str
    _system: pafs.FileSystem = field(repr=False, compare=False)
    _base: str = field(repr=False, compare=False)
    _server: ObjectServer | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_storage, (self.url,)

    def child(self, path: str) -> Storage:
        """The folder at a path within this one."""
        return Storage(self.url_of(path), self._system, self._path(path), self._server)

    def url_of(self, path: str) -> str:
        """The whole URL of a file or folder within."""
        self._path(path)
        if "://" not in self.url:
            return f"{self.url}/{path}"
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(path, safe='/=')}").geturl()

    def read(self, path: str) -> bytes:
        """The whole content of a file."""
        with self._named("read", path), self._system.open_input_file(self._path(path)) as file:
            return file.read()

    def mapped(self, path: str) -> pa.Buffer:
        """The whole content of a file. On a disk it is the file's pages, which all processes of a host share."""
        if not self.is_local:
            return pa.py_buffer(self.read(path))
        with self._named("read", path), pa.memory_map(self._path(path)) as file:
            return file.read_buffer()

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file, in place of one that is there. A writer that fails or is killed leaves the old one."""
        if not self.is_local:
            with self._named("write", path), self.open_output(path) as file:
                file.write(content)
            return
        folder, slash, name = path.rpartition("/")
        unfinished = f"{folder}{slash}.{name}.{uuid.uuid4().hex}.unfinished"
        with self._named("write", path):
            try:
                with self._created(unfinished) as file:
                    file.write(content)
                self._system.move(self._path(unfinished), self._path(path))
            except BaseException:
                with suppress(OSError):
                    self._system.delete_file(self._path(unfinished))
                raise

    def read_json(self, path: str) -> Any:
        """The content of a JSON file.

        Raises:
            DataError: it is not JSON (half-written, perhaps).
        """
        content = self.read(path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise DataError(f"{self.url_of(path)} is not JSON, it may be half-written: {error}") from None

    def write_json(self, path: str, value: Any) -> None:
        self.write(path, json.dumps(value, sort_keys=True, allow_nan=False).encode())

    def open_input(self, path: str) -> pa.NativeFile:
        """A file for reading anywhere in it."""
        with self._named("read", path):
            return self._system.open_input_file(self._path(path))

    def open_output(self, path: str) -> pa.NativeFile:
        """A new file, which is there once it is closed; on a disk it grows in its place."""
        with self._named("write", path):
            return self._created(path)

    def exists(self, path: str) -> bool:
        """Whether there is a file at this path; a folder is none."""
        with self._named("look for", path):
            return self._system.get_file_info(self._path(path)).type == pafs.FileType.File

    def size(self, path: str) -> int:
        """Bytes of a file."""
        with self._named("look for", path):
            info = self._system.get_file_info(self._path(path))
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(f"there is no file {self.url_of(path)}")
        return info.size

    def list(self, prefix: str = "", recursive: bool = True) -> list[Entry]:
        """The files in the folder `prefix`, sorted by path; none where there is no such folder.

        What a killed `write` left beside its place is no file.
        """
        selector = pafs.FileSelector(self._path(prefix), allow_not_found=True, recursive=recursive)
        with self._named("list", prefix):
            found = self._system.get_file_info(selector)
            start = len(self._base.rstrip("/")) + 1
            files = (f for f in found if f.type == pafs.FileType.File and not _UNFINISHED.fullmatch(f.path))
            return sorted((Entry(info.path[start:], info.size) for info in files), key=lambda entry: entry.path)

    def delete(self, path: str) -> None:
        """Delete a file."""
        with self._named("delete", path):
            if self._server is None:
                self._system.delete_file(self._path(path))
            elif self.exists(path):
                self._server.delete(self._path(path))
            else:
                raise FileNotFoundError(path)

    def delete_tree(self, path: str) -> None:
        """Delete a folder and all that is in it, if it is there."""
        if not path:
            raise ValueError("name the folder to be deleted: the storage itself is never emptied")
        with self._named("delete", path), suppress(FileNotFoundError):
            if self._server is None:
                self._system.delete_dir(self._path(path))
                return
            for entry in self.list(path):
                self._server.delete(self._path(entry.path))

    def within(self, other: Storage) -> bool:
        """Whether this folder is the other one, or lies in it."""
        return self._system.equals(other._system) and f"{_resolved(self)}/".startswith(f"{_resolved(other)}/")

    @property
    def is_local(self) -> bool:
        """Whether its files are on disks of the machine, or look so."""
        return isinstance(self._system, pafs.LocalFileSystem)

    def local_path(self, path: str) -> str:
        """Where a file or folder is for other programs of the machine.

        Raises:
            ValueError: it is not on a disk.
        """
        if not self.is_local:
            raise ValueError(f"{self.url_of(path)} is not on a disk")
        return self._path(path)

    def _created(self, path: str) -> pa.NativeFile:
        target = self._path(path)
        if self.is_local:
            self._system.create_dir(target.rpartition("/")[0], recursive=True)
        return self._system.open_output_stream(target)

    def _path(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"a path within {self.url} must be relative and stay inside, got '{path}'")
        return f"{self._base.rstrip('/')}/{path}" if path else self._base

    @contextmanager
    def _named(self, action: str, path: str) -> Iterator[None]:
        """Errors of the file system as errors that name the operation and the URL."""
        try:
            yield
        except FileNotFoundError as error:
            if action == "write":
                raise StorageError(f"cannot write {self.url_of(path)}: {error}") from None
            raise FileNotFoundError(f"there is no file {self.url_of(path)}") from None
        except StorageError:
            raise
        except UnicodeDecodeError as error:
            raise StorageError(
                f"cannot {action} {self.url_of(path)}: the name {error.object!r} is not written in UTF-8, rename it"
            ) from None
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"cannot {action} {self.url_of(path)}: {error}") from error


def open_storage(url: str | os.PathLike[str]) -> Storage:
    """The folder at a URL; it need not be there yet.

    url: a path, or file://, s3://, hdfs:// or another scheme of pyarrow.fs. An S3 endpoint other than Amazon's is given
        as s3://bucket/folder?endpoint_override=host:port&scheme=http or in AWS_ENDPOINT_URL; keys come from the
        environment (AWS_ACCESS_KEY_ID, …) or the machine's role, never from the URL, which ends up in logs.

    Raises:
        DataError: the URL is not understood. StorageError: its storage cannot be reached.
    """
    url = os.fspath(url)
    if "://" not in url:
        base = os.path.abspath(os.path.expanduser(url))
        return Storage(base, pafs.LocalFileSystem(), base)
    parts = urlsplit(re.sub("^s3[an]://", "s3://", url))
    if parts.scheme not in _SCHEMES:
        raise DataError(f"'{url}' has the unknown scheme '{parts.scheme}': use a path or one of {', '.join(_SCHEMES)}")
    if parts.password is not None:
        raise DataError(
            f"the URL of {parts.hostname}{parts.path} carries a password, which would end up in logs: "
            "give keys by the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    # Characters such as spaces are forgiven; what is already escaped stays so.
    clean = parts._replace(path=quote(parts.path.rstrip("/") or "/", safe="/=%")).geturl()
    query = _endpoint(parts.scheme, parts.query)
    system, base = _connect(clean, query, os.getpid())
    return Storage(clean, system, base, _server(system, query))


def _resolved(storage: Storage) -> str:
    """The path of a folder without symbolic links."""
    base = os.path.realpath(storage._base) if storage.is_local else storage._base
    return base.rstrip("/")


def _endpoint(scheme: str, query: str) -> str:
    """The query string that leads to the endpoint of the environment, where the URL names none."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options = dict(parse_qsl(query))
    if scheme != "s3" or not endpoint or "endpoint_override" in options:
        return query
    parts = urlsplit(endpoint)
    return urlencode({**options, "endpoint_override": parts.netloc, "scheme": parts.scheme})


def _server(system: pafs.FileSystem, query: str) -> ObjectServer | None:
    """The S3 server, where it is not Amazon's and its keys are known."""
    options = dict(parse_qsl(query))
    known = "AWS_ACCESS_KEY_ID" in os.environ and "AWS_SECRET_ACCESS_KEY" in os.environ
    if system.type_name != "s3" or "endpoint_override" not in options or not known:
        return None
    return ObjectServer(options.get("scheme", "https"), options["endpoint_override"], system.region)


@lru_cache(maxsize=256)
def _connect(url: str, query: str, process: int) -> tuple[pafs.FileSystem, str]:
    """The file system of a URL and the path in it. Cached by process: connections do not survive a fork."""
    try:
        return pafs.FileSystem.from_uri(urlsplit(url)._replace(query=query).geturl())
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot open {url}: {error}") from error
