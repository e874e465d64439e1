"""A run as its folder tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from echelon.report import format
from echelon.report.history import History, build_history
from echelon.train.heartbeat import Heartbeat, lost_driver
from echelon.train.results import FINISHED
from echelon.train.run import RunFolder

Json = Mapping[str, Any]
STOPPED_ANSWERING = "stopped answering"


@dataclass(frozen=True)
class RecordedRun:
    """What was asked, what came out and what happened. lost: the driver, if nothing was heard of it for long.

    config: config.json. results: results.json, or {} while there is none; of a run that is not finished, with the
    newest figures that its events tell.
    """

    url: str
    config: Json
    results: Json = field(default_factory=dict)
    history: History = field(default_factory=History)
    lost: Heartbeat | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return format.place(self.url).rstrip("/").rsplit("/", 1)[-1]

    @property
    def state(self) -> str:
        """finished, failed or running; "stopped answering" for a run whose driver is gone without a word, "not started"
        for one without results.
        """
        if self.lost is not None:
            return STOPPED_ANSWERING
        return str(self.results.get("state") or "not started")

    @property
    def error(self) -> str:
        """Why it failed, or ""."""
        return str(self.results.get("error") or "")


def read_run(url: str) -> RecordedRun:
    """The run at a URL.

    Raises:
        EchelonError: there is no run, or its storage cannot be reached.
    """
    folder = RunFolder(url)
    config, history = folder.asked, build_history(folder.events())
    return RecordedRun(folder.url, config, _newest(folder.results, history), history, lost_driver(folder))


def glance_at_run(url: str) -> RecordedRun:
    """The same without the events of a finished run, whose results say enough for a list."""
    folder = RunFolder(url)
    results = folder.results
    if results.get("state") == FINISHED:
        return RecordedRun(folder.url, folder.asked, results)
    return read_run(url)


def _newest(results: Json, history: History) -> Json:
    """Until a run is finished its results are those of its newest checkpoint, and the events know more.

    They know the learner's order of the metrics, too: results.json is sorted by name.
    """
    newest = history.metrics.get(history.split, {})
    metrics = {name: curve.last for name, curve in newest.items()}
    if results.get("state") == FINISHED or not history.attempts:
        told = results.get("metrics") or {}
        return {**results, "metrics": {name: told[name] for name in [*metrics, *told] if name in told}}
    return {
        **results,
        "steps": history.steps,
        "epochs": history.epochs,
        "seconds": history.seconds,
        "rows": history.rows,
        "rows_per_second": history.rows / history.seconds if history.seconds else None,
        "bytes_sent": history.bytes_sent,
        "seconds_reading": history.times.reading,
        "seconds_computing": history.times.computing,
        "seconds_synchronising": history.times.synchronising,
        "attempts": max(history.attempts, results.get("attempts", 0)),
        "metrics": metrics or results.get("metrics", {}),
        "baseline": history.baselines.get(history.split) or results.get("baseline", {}),
        "stopped_by": history.stopped_by,
    }
