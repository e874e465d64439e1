"""Files for libraries that want a path: as they are on a disk, or as a copy for a while."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from echelon.data.storage import Storage
from echelon.errors import StorageError

_PIECE = 8 << 20


@contextmanager
def on_disk(storage: Storage, path: str) -> Iterator[str]:
    """Where a file is on a disk of this machine: its own place, or that of a copy which is deleted after the block.

    A copy is made in bounded memory, in the folder for temporary files, and needs as much space as the file.

    Raises:
        FileNotFoundError: there is no such file. StorageError: it cannot be read at present, or not copied.
    """
    if storage.is_local:
        storage.size(path)
        yield storage.local_path(path)
        return
    handle, copy = tempfile.mkstemp(suffix=os.path.splitext(path)[1])
    try:
        with os.fdopen(handle, "wb") as target, storage.open_input(path) as source:
            try:
                while piece := source.read(_PIECE):
                    target.write(piece)
            except (OSError, pa.ArrowException) as error:
                raise StorageError(f"cannot copy {storage.url_of(path)} to {copy}: {error}") from error
        yield copy
    finally:
        os.unlink(copy)
