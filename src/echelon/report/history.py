"""One history out of the events of all attempts of a run.

A later attempt resumes from a checkpoint and takes again the steps that came after it. Those steps count once: what an
earlier attempt said about steps beyond that checkpoint is superseded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np

Event = Mapping[str, Any]
Axis = Literal["steps", "seconds", "epochs", "bytes"]
AXES: tuple[Axis, ...] = get_args(Axis)

_COUNTERS = ("seconds", "rows", "bytes_sent")


@dataclass(frozen=True)
class Point:
    """A value and when it was so: global step, seconds of training, passes over the data, bytes sent by all ranks."""

    steps: int
    seconds: float
    epochs: float
    bytes: float
    value: float


@dataclass(frozen=True)
class Curve:
    """The values of one quantity in the order of the steps."""

    points: tuple[Point, ...] = ()

    def against(self, axis: Axis) -> list[float]:
        """The position of each value on an axis."""
        return [getattr(point, axis) for point in self.points]

    @property
    def values(self) -> list[float]:
        return [point.value for point in self.points]

    @property
    def last(self) -> float | None:
        return self.points[-1].value if self.points else None


@dataclass(frozen=True)
class Recovery:
    """The start of a later attempt: the step it resumed from, and how many steps it had to take again."""

    attempt: int
    step: int
    seconds: float
    epoch: float
    bytes: float
    cause: str
    redone: int


@dataclass(frozen=True)
class Times:
    """Seconds by what they were spent on: means over the ranks, summed over all attempts."""

    reading: float = 0.0
    computing: float = 0.0
    synchronising: float = 0.0

    def other(self, total: float) -> float:
        """What is left of the whole: evaluation, checkpoints, starting."""
        return max(0.0, total - self.reading - self.computing - self.synchronising)


@dataclass(frozen=True)
class History:
    """What counts of a run.

    metrics, baselines: by split, then by name. split: that of the newest evaluation, or "". seconds, steps: at the
    newest event. checkpoints: how many were written, those of superseded steps too.
    """

    loss: Curve = Curve()
    rate: Curve = Curve()
    rows_per_second: Curve = Curve()
    metrics: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    recoveries: tuple[Recovery, ...] = ()
    times: Times = Times()
    split: str = ""
    stopped_by: str = ""
    steps: int = 0
    seconds: float = 0.0
    bytes_sent: float = 0.0
    attempts: int = 0
    checkpoints: int = 0

    def metric(self, name: str) -> Curve:
        """The curve of a metric on the split that was evaluated last; empty if there is none."""
        return self.metrics.get(self.split, {}).get(name, Curve())


def build_history(events: Iterable[Event]) -> History:
    """The history that the events of a run tell.

    Args:
        events: of all attempts, in any order of the attempts. A "recovery" event belongs to the attempt that it begins
        and
            carries the step that this attempt resumed from; without one, an attempt is taken to have resumed from the
            newest checkpoint before its first event.
    """
    everything = sorted(events, key=lambda event: event["attempt"])
    kept: list[dict[str, Any]] = []
    recoveries: list[Recovery] = []
    for attempt, group in groupby(everything, key=lambda event: event["attempt"]):
        own = [dict(event) for event in group]
        if attempt != everything[0]["attempt"]:
            start = _resumed_from(own, kept)
            before = [event for event in kept if event["step"] <= start]
            recoveries.append(_recovery(own, before, start, redone=max((e["step"] for e in kept), default=0) - start))
            kept = before
        kept += _continued(own, kept)
    return _history(_in_order(kept), recoveries, everything)


def _resumed_from(own: Sequence[Event], kept: Sequence[Event]) -> int:
    first = min(event["step"] for event in own)
    said = [event["step"] for event in own if event["kind"] == "recovery"]
    if said:
        return min(first, said[0])
    return max((e["step"] for e in kept if e["kind"] == "checkpoint" and e["step"] <= first), default=0)


def _recovery(own: Sequence[Event], before: Sequence[Event], start: int, redone: int) -> Recovery:
    told = next((event for event in own if event["kind"] == "recovery"), own[0])
    last = before[-1] if before else {"seconds": 0.0, "epoch": 0.0}
    return Recovery(
        attempt=told["attempt"],
        step=start,
        seconds=last["seconds"],
        epoch=last["epoch"],
        bytes=max((event.get("bytes_sent", 0.0) for event in before), default=0.0),
        cause=str(told.get("cause") or "started again"),
        redone=max(0, redone),
    )


def _continued(own: Sequence[dict[str, Any]], kept: Sequence[Event]) -> list[dict[str, Any]]:
    """The events of an attempt, with counters that began again at zero continued from what is kept."""
    result = [event for event in own if event["kind"] != "recovery"]
    for counter in _COUNTERS:
        reached = max((event[counter] for event in kept if counter in event), default=0)
        first = next((event[counter] for event in result if counter in event), reached)
        if first < reached:
            result = [{**event, counter: event[counter] + reached} if counter in event else event for event in result]
    return result


def _in_order(kept: Iterable[Event]) -> list[Event]:
    """By step; of two events that tell the same, the newer."""
    newest = {(event["kind"], event.get("split"), event["step"]): event for event in kept}
    return sorted(newest.values(), key=lambda event: event["step"])


def _history(kept: list[Event], recoveries: list[Recovery], everything: Sequence[Event]) -> History:
    train = [event for event in kept if event["kind"] == "train"]
    evaluations = [event for event in kept if event["kind"] == "evaluate"]
    steps = [0, *(event["step"] for event in train)]
    sent = [0.0, *(float(event.get("bytes_sent", 0.0)) for event in train)]

    def point(event: Event, value: float) -> Point:
        at = event["step"]
        return Point(at, event["seconds"], event["epoch"], float(np.interp(at, steps, sent)), float(value))

    def curve(key: str) -> Curve:
        return Curve(tuple(point(event, event[key]) for event in train if event.get(key) is not None))

    metrics: dict[str, dict[str, list[Point]]] = {}
    for event in evaluations:
        for name, value in event["metrics"].items():
            metrics.setdefault(event["split"], {}).setdefault(name, []).append(point(event, value))
    return History(
        loss=curve("loss"),
        rate=curve("rate"),
        rows_per_second=curve("rows_per_second"),
        metrics={split: {n: Curve(tuple(p)) for n, p in named.items()} for split, named in metrics.items()},
        baselines={event["split"]: dict(event.get("baseline") or {}) for event in evaluations},
        recoveries=tuple(recoveries),
        times=_times(everything),
        split=evaluations[-1]["split"] if evaluations else "",
        stopped_by=next((str(event["reason"]) for event in reversed(kept) if event["kind"] == "stop"), ""),
        steps=max((event["step"] for event in kept), default=0),
        seconds=max((event["seconds"] for event in kept), default=0.0),
        bytes_sent=sent[-1],
        attempts=len({event["attempt"] for event in everything}),
        checkpoints=sum(event["kind"] == "checkpoint" for event in everything),
    )


def _times(everything: Iterable[Event]) -> Times:
    """The newest sums of each attempt, added up: steps that were taken twice cost their time twice."""
    newest = {event["attempt"]: event for event in everything if event["kind"] == "train"}
    spent = {
        part: sum(float(event.get(f"seconds_{part}", 0.0)) for event in newest.values())
        for part in ("reading", "computing", "synchronising")
    }
    return Times(**spent)
