"""Reading shards: all of one in its order, or some records of it by their places."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from echelon.data.storage import Storage
from echelon.errors import StorageError
from echelon.recipes.video.sources import Shard
from echelon.recipes.video.tfrecord import HEAD, TAIL, Loss, Place, Window, checked, content_at, places

_PIECE = 8 << 20
_LOCAL_PIECE = 4 << 10
PEEKED = 1 << 10
"""Bytes of a record in which its id is, unless somebody wrote it behind the frames."""


_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)


def contents(storage: Storage, shard: Shard) -> Iterator[tuple[Place, bytes] | Loss]:
    """The records of a shard, and what is lost of it.

    Raises:
        StorageError: it cannot be read at present.
    """
    with _opened(storage, shard, _PIECE) as (file, window):
        last = Place(-1, -HEAD - TAIL, 0)
        try:
            for found in places(window):
                if isinstance(found, Loss):
                    yield found
                    continue
                last = found
                content = content_at(window, found)
                yield content if isinstance(content, Loss) else (found, content)
        except _DAMAGED as error:
            reason = f"its gzip stream is damaged or cut off ({error}); the rest of the file is lost, as compressed"
            yield Loss(last.number + 1, last.end, shard.size - file.tell(), reason)


def beginnings(storage: Storage, shard: Shard) -> Iterator[tuple[Place, bytes] | Loss]:
    """The places of the records of a shard with their first bytes, unchecked. The rest of them is not read on a disk.

    The shard is not compressed.

    Raises:
        StorageError: it cannot be read at present.
    """
    # Far away, many small requests cost more than to read all of it.
    with _opened(storage, shard, _LOCAL_PIECE if storage.is_local else _PIECE) as (_, window):
        for place in places(window):
            if isinstance(place, Loss):
                yield place
            else:
                yield place, window.get(place.start + HEAD, min(place.length, PEEKED))


def contents_at(storage: Storage, path: str, some: Sequence[Place]) -> list[bytes | Loss]:
    """The contents of records of a shard that is not compressed, in this order.

    Raises:
        StorageError: it cannot be read at present.
    """
    found = []
    with _reading(storage, path), storage.open_input(path) as file:
        for place in some:
            file.seek(place.start + HEAD)
            found.append(checked(file.read(place.length + TAIL), place))
    return found


class _Unzipped:
    """What was compressed, as far as it can be had: where a stream is damaged, no byte before that is kept back."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def read(self, nbytes: int) -> bytes:
        return self._file.read1(nbytes)

    def seek(self, position: int) -> int:
        return self._file.seek(position)


@contextmanager
def _opened(storage: Storage, shard: Shard, piece: int) -> Iterator[tuple[pa.NativeFile, Window]]:
    """A shard, and its bytes as they were before they were compressed."""
    with _reading(storage, shard.path), storage.open_input(shard.path) as file:
        if not shard.is_zipped:
            yield file, Window(file, file.size(), piece)
            return
        with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
            yield file, Window(_Unzipped(unzipped), None, piece)


@contextmanager
def _reading(storage: Storage, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {storage.url_of(path)}: {error}") from error
