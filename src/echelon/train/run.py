"""The folder of one training: what was asked, what happened, what came out.

    config.json        what was asked (learner, strategy, configuration, dataset); written once
    attempt.json       the number of the newest start; an older one that is still alive must delete nothing
    checkpoints/       see `echelon.train.checkpoint`
    samples/           what the model made by itself at evaluations; see `echelon.train.sampled`
    events/            what happened, as JSON lines in files <attempt>-<number>.jsonl
    heartbeat.json     the driver's last sign of life; see `echelon.train.heartbeat`
    results.json       what came out
    train.log          the events as text
    report.html        the report

No file is appended to or renamed, since object stores can do neither.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import echelon
from echelon.data.manifest import Dataset
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError, EchelonError
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig
from echelon.train.learner import Learner, describe, rebuild

CONFIG, ATTEMPT, RESULTS, LOG, REPORT = "config.json", "attempt.json", "results.json", "train.log", "report.html"
EVENTS, CHECKPOINTS = "events", "checkpoints"

Event = dict[str, Any]


class RunFolder:
    """A run at a URL: a local path, s3://, hdfs:// or what else pyarrow.fs opens."""

    def __init__(self, url: str) -> None:
        self.storage: Storage = open_storage(url)

    @property
    def url(self) -> str:
        return self.storage.url

    def exists(self) -> bool:
        return self.storage.exists(CONFIG)

    def create(
        self,
        learner: Learner,
        strategy: Strategy,
        config: RunConfig,
        dataset: Dataset,
        workers: int,
        recipe: str | None = None,
    ) -> None:
        """Writes what was asked.

        Raises:
            EchelonError: there is a run at this URL already.
        """
        if self.exists():
            raise EchelonError(f"there is a run at {self.url} already: resume it, or choose another folder")
        asked = {
            "learner": describe(learner),
            "recipe": recipe,
            "strategy": describe(strategy),
            "solved": learner.solved,
            "config": config.to_json(),
            "dataset": {
                "url": dataset.url,
                "digest": dataset.digest,
                "rows": {split: dataset.rows(split) for split in dataset.splits},
            },
            "workers": workers,
            "echelon": echelon.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.storage.write_json(CONFIG, asked)

    def change(self, learner: Learner, config: RunConfig, workers: int) -> None:
        """Writes down with what a run is resumed; what it was created with stays as "created_with"."""
        asked = self.asked
        now = {"learner": describe(learner), "config": config.to_json(), "workers": workers}
        first = asked.get("created_with") or {name: asked[name] for name in now}
        if any(asked[name] != value for name, value in now.items()):
            self.storage.write_json(CONFIG, {**asked, **now, "created_with": first})

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as stored.

        Raises:
            EchelonError: there is no run at this URL.
        """
        try:
            return self.storage.read_json(CONFIG)
        except FileNotFoundError:
            raise EchelonError(f"there is no run at {self.url}: it has no {CONFIG}") from None

    @property
    def config(self) -> RunConfig:
        return RunConfig.from_json(self.asked["config"])

    @property
    def learner(self) -> Learner:
        return rebuild(self.asked["learner"])

    @property
    def strategy(self) -> Strategy:
        return rebuild(self.asked["strategy"])

    def newest_attempt(self) -> int:
        """The number of the newest start; 0 before the first.

        If the file that says so is damaged or gone, the newest start that left something.
        """
        try:
            return int(self.storage.read_json(ATTEMPT)["attempt"])
        except (FileNotFoundError, DataError, KeyError, TypeError, ValueError):
            paths = [file.path for folder in (CHECKPOINTS, EVENTS) for file in self.storage.list(folder)]
            numbers = [re.match(r"[^/]+/(\d+)-", path) for path in paths]
            return max((int(number[1]) for number in numbers if number), default=0)

    def start_attempt(self) -> int:
        """Numbers a new start of the training. Called by the driver alone."""
        attempt = self.newest_attempt() + 1
        self.storage.write_json(ATTEMPT, {"attempt": attempt})
        return attempt

    def add_event(self, event: Event) -> None:
        """Writes one event of the driver, which comes after those of the attempt that it is about."""
        self.storage.write(_of_driver(event["attempt"]), (as_json(event) + "\n").encode())

    def has_event_of_driver(self, attempt: int) -> bool:
        """Whether the driver has written one event after those of an attempt."""
        return self.storage.exists(_of_driver(attempt))

    def events(self) -> list[Event]:
        """All events, those of an earlier attempt first."""
        files = [f.path for f in self.storage.list(EVENTS) if f.path.endswith(".jsonl")]
        order = sorted(files, key=lambda path: [int(n) for n in _stem(path).split("-")])
        return [json.loads(line) for path in order for line in self.storage.read(path).decode().splitlines()]

    @property
    def results(self) -> dict[str, Any]:
        """What came out; its "state" is running, finished or failed. Empty before the first start."""
        try:
            return self.storage.read_json(RESULTS)
        except FileNotFoundError:
            return {}

    def write_results(self, results: dict[str, Any]) -> None:
        self.storage.write(RESULTS, as_json(results).encode())
        self.storage.write(LOG, "".join(f"{as_text(e)}\n" for e in self.events()).encode())


def _of_driver(attempt: int) -> str:
    return f"{EVENTS}/{attempt}-99999.jsonl"


def as_json(value: Any) -> str:
    """JSON in the given order; a metric that is no finite number, which JSON lacks, is null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".jsonl")


def as_text(event: Event) -> str:
    """One line for train.log."""
    head = f"[{event['attempt']}] {event['seconds']:9.2f} s  step {event['step']:>7}  {event['kind']:<12}"
    rest = {k: v for k, v in event.items() if k not in ("attempt", "seconds", "step", "epoch", "kind", "arrays")}
    return head + "  ".join(f"{k}={_short(v)}" for k, v in rest.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
