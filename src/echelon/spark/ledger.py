"""What tasks have written of a dataset that is not whole yet, so that what was killed need not write it again.

Each task leaves a receipt for its part once the files of that are whole. The marker of a dataset that is being written
says of what plan they are: rows of other files or options are never mixed with them.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pickle import PickleError
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from echelon import __version__
from echelon.data.commit import RECEIPTS, start
from echelon.data.manifest import MANIFEST, WRITING
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError, EchelonError


@dataclass(frozen=True)
class Ledger:
    """Where tasks leave receipts, of one plan. again: how often the dataset was begun before; files get names by it,
    since tasks of a killed driver may still write theirs.
    """

    url: str
    plan: str
    again: int = 0

    @property
    def token(self) -> str:
        return f"again{self.again}" if self.again else ""

    @property
    def _folder(self) -> str:
        # By the plan, since who was killed as it cleared the folder may have left receipts of another one.
        return f"{RECEIPTS}/{self.plan}"

    def note(self, part: int, token: str, written: pa.RecordBatch) -> None:
        """Leaves a receipt for a part: what its task wrote, as `Written.to_batch` says it."""
        content = pa.BufferOutputStream()
        with pa.ipc.new_stream(content, written.schema) as stream:
            stream.write_batch(written)
        name = f"part-{part:05d}{token and '-' + token}.arrow"
        open_storage(self.url).write(f"{self._folder}/{name}", content.getvalue().to_pybytes())

    def receipts(self) -> Iterable[tuple[int, dict[str, Any]]]:
        """The parts with receipts, and these as rows for `Written.merged`; a part may have several."""
        storage = open_storage(self.url)
        for entry in storage.list(self._folder):
            part = int(re.split("[-.]", entry.path.rpartition("/part-")[2])[0])
            for row in pa.ipc.open_stream(storage.read(entry.path)).read_all().to_pylist():
                yield part, row


def begin(storage: Storage, plan: str, *, overwrite: bool, resume: bool) -> Ledger:
    """Makes a folder ready for a dataset. With `resume` the receipts of a killed writer with the same plan stay.

    Raises:
        DataError: as `start`, or what was left is of another plan.
    """
    left = _left(storage) if resume else None
    if left is None:
        start(storage, overwrite, plan=plan)
        return Ledger(storage.url, plan)
    if left.get("plan") != plan:
        raise DataError(
            f"what an interrupted prepare left at {storage.url} is of other files, options or another version of "
            "Echelon, so it cannot go on: prepare without resume to begin anew"
        )
    again = int(left.get("again", 0)) + 1
    storage.write_json(WRITING, {**left, "again": again, "resumed": datetime.now(UTC).isoformat(timespec="seconds")})
    return Ledger(storage.url, plan, again)


def plan_of(values: Iterable[Any], described: Mapping[str, Any]) -> str:
    """A digest of what a dataset is made of: the same only if another prepare would write the same.

    values: what can be pickled, such as items and functions. Functions of modules count by their names, not by their
    code; classes of a script that is run itself are never the same as before. described: what has an unambiguous
    `repr`.
    """
    from pyspark.cloudpickle import dumps

    digest = hashlib.sha256(f"{__version__} {sorted(described.items())!r}".encode())
    try:
        for value in values:
            # Twice: whether two equal texts are one object changes a pickle, but not that of what was unpickled.
            digest.update(hashlib.sha256(dumps(pickle.loads(dumps(value)))).digest())
    except (TypeError, AttributeError, PickleError) as error:
        raise EchelonError(f"the items or functions cannot be sent to the tasks: {error}") from error
    return digest.hexdigest()


def _left(storage: Storage) -> dict[str, Any] | None:
    """The marker of a writer that did not end."""
    if storage.exists(MANIFEST) or not storage.exists(WRITING):
        return None
    marker = storage.read_json(WRITING)
    return marker if isinstance(marker, dict) and "plan" in marker else None
