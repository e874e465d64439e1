"""A process that writes a dataset and kills itself at a given moment: python -m killed_writer URL MOMENT."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from numbered_rows import SCHEMA, batches

from echelon.data import commit as committing
from echelon.data.write import write_dataset

ARGUMENTS: dict[str, Any] = {"row_group_mb": 0.01, "memory_mb": 0.05, "info": {"classes": ["a", "b"]}}
MOMENTS = ("while rows are shuffled", "second split", "before the manifest", "before the marker goes")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rows(moment: str, split: str) -> Iterator[dict[str, Any]]:
    for number, batch in enumerate(batches(3000)):
        yield batch
        if (split, number, moment) in (
            ("train", 5, "while rows are shuffled"),
            ("test", 5, "second split"),
        ):
            die()


def main(url: str, moment: str) -> None:
    class Storage(committing.Storage):
        """Dies instead of one of its last two actions."""

        def write_json(self, path: str, value: Any) -> None:
            if path == committing.MANIFEST and moment == "before the manifest":
                die()
            super().write_json(path, value)

        def delete(self, path: str) -> None:
            if path == committing.WRITING and moment == "before the marker goes":
                die()
            super().delete(path)

    from echelon.data import storage

    storage.Storage = Storage  # type: ignore[misc]
    write_dataset(url, SCHEMA, {split: rows(moment, split) for split in ("train", "test")}, overwrite=True, **ARGUMENTS)


if __name__ == "__main__":
    main(*sys.argv[1:])
