"""Which runs there are in a folder."""

from __future__ import annotations

import json

from rich.table import Table

from echelon.data.storage import open_storage
from echelon.report.recorded import RecordedRun, glance_at_run
from echelon.report.tables import runs_table
from echelon.train.run import CONFIG

_ASKED = {"learner", "strategy", "config", "created"}


def find_runs(folder: str) -> list[RecordedRun]:
    """The runs at a path or URL and anywhere below it, the newest first.

    Of finished ones the history is left out. A config.json that is not one of a run is passed over.

    Raises:
        StorageError: the folder cannot be listed.
    """
    storage = open_storage(folder)
    found = []
    for entry in storage.list():
        below, _, file = entry.path.rpartition("/")
        if file == CONFIG and _is_run(storage.read(entry.path)):
            found.append(glance_at_run(storage.url_of(below) if below else storage.url))
    return sorted(found, key=lambda run: str(run.config["created"]), reverse=True)


def runs(folder: str) -> Table:
    """One line for each run in a folder: state, steps, metric, strategy, workers, and when it was begun."""
    return runs_table(find_runs(folder), open_storage(folder).url)


def _is_run(content: bytes) -> bool:
    try:
        value = json.loads(content)
    except ValueError:
        return False
    return isinstance(value, dict) and value.keys() >= _ASKED
