"""One history out of the events of all attempts of a run.

A later attempt resumes from a checkpoint and takes again the steps that came after it. Those steps count once: what an
earlier attempt said about steps beyond that checkpoint is superseded. Counters (seconds, rows, bytes, times) are stored
in the checkpoint and go on from there, so they are taken as they are told and leave out what was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np

from echelon.train.events import LATE

Event = Mapping[str, Any]
Axis = Literal["steps", "seconds", "epochs", "bytes"]
AXES: tuple[Axis, ...] = get_args(Axis)
_TIMES = ("reading", "computing", "synchronising")


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
    """The start of a later attempt: where it resumed, and how many steps that are known of it had to take again.

    cause: why the attempts before it ended, or that this is not known.
    """

    attempt: int
    steps: int
    seconds: float
    epochs: float
    bytes: float
    cause: str
    redone: int


@dataclass(frozen=True)
class Times:
    """Seconds of one worker by what they were spent on: means over the ranks. Redone steps count once."""

    reading: float = 0.0
    computing: float = 0.0
    synchronising: float = 0.0

    def other(self, total: float) -> float:
        """What is left of the whole: evaluation, checkpoints, starting."""
        return max(0.0, total - self.reading - self.computing - self.synchronising)


@dataclass(frozen=True)
class History:
    """What counts of a run.

    metrics, baselines: by split, then by name. split: that of the newest evaluation, or "". steps, seconds, epochs,
    rows: at the newest event. last_step: where training is to end; 0 before that is known. device: of rank 0.
    attempts: those that told anything. checkpoints: how many were written, those of superseded steps too.
    lanes, step_seconds: of each worker, as they were measured to balance the load; empty where they were not.
    balance_remark: why workers still wait for one another, by the newest measurement, or "". arrays: what the newest
    evaluation measured that is more than a number, by name. samples: by step, the files of what the model made.
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
    device: str = ""
    steps: int = 0
    last_step: int = 0
    seconds: float = 0.0
    epochs: float = 0.0
    rows: int = 0
    bytes_sent: float = 0.0
    attempts: int = 0
    checkpoints: int = 0
    lanes: tuple[Curve, ...] = ()
    step_seconds: tuple[Curve, ...] = ()
    balance_remark: str = ""
    arrays: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[int, str] = field(default_factory=dict)

    def metric(self, name: str) -> Curve:
        """The curve of a metric on the split that was evaluated last; empty if there is none."""
        return self.metrics.get(self.split, {}).get(name, Curve())


def build_history(events: Iterable[Event]) -> History:
    """The history that the events of a run tell.

    Args:
        events: as `echelon.train.run.RunFolder.events` gives them: those of one attempt in the order in which they
            happened, the first being its "start"; a "recovery" belongs to the attempt that failed.
    """
    everything = sorted(events, key=lambda event: event["attempt"])
    kept: list[Event] = []
    recoveries: list[Recovery] = []
    causes: list[str] = []
    for _, group in groupby(everything, key=lambda event: event["attempt"]):
        told = list(group)
        own = [event for event in told if event["kind"] != "recovery"]
        if own:
            if kept or causes:
                recoveries.append(_recovery(own[0], kept, causes))
            kept = [e for e in kept if e["step"] <= own[0]["step"] and e["kind"] != "stop"] + own
            causes = []
        causes += [str(event["cause"]) for event in told if event["kind"] == "recovery"]
    return _history(_in_order(kept), tuple(recoveries), everything)


def _recovery(start: Event, kept: Sequence[Event], causes: Sequence[str]) -> Recovery:
    before = [event for event in kept if event["step"] <= start["step"]]
    return Recovery(
        attempt=start["attempt"],
        steps=start["step"],
        seconds=start["seconds"],
        epochs=start["epoch"],
        bytes=max((event.get("bytes_sent", 0.0) for event in before), default=0.0),
        cause="; then ".join(causes) or "not known: the run was started again",
        redone=max(0, max((event["step"] for event in kept), default=0) - start["step"]),
    )


def _in_order(kept: Iterable[Event]) -> list[Event]:
    """By step; of two events that tell the same, the newer."""
    newest = {(event["kind"], event.get("split"), event["step"]): event for event in kept}
    return sorted(newest.values(), key=lambda event: event["step"])


def _history(kept: list[Event], recoveries: tuple[Recovery, ...], everything: Sequence[Event]) -> History:
    train = [event for event in kept if event["kind"] == "train"]
    evaluations = [event for event in kept if event["kind"] == "evaluate"]
    metrics, baselines = _metrics(evaluations, _pointer(train))
    newest = train[-1] if train else {}
    balances = [event for event in kept if event["kind"] == "balance"]
    return History(
        lanes=_lanes(balances, kept[-1:], _pointer(train)),
        step_seconds=_by_worker(balances, "seconds_per_step", _pointer(train)),
        balance_remark=balances[-1]["remark"] if balances else "",
        arrays=evaluations[-1].get("arrays", {}) if evaluations else {},
        samples={event["step"]: event["path"] for event in kept if event["kind"] == "sample"},
        loss=_curve(train, "loss"),
        rate=_curve(train, "rate"),
        rows_per_second=_curve(train, "rows_per_second"),
        metrics=metrics,
        baselines=baselines,
        recoveries=recoveries,
        times=Times(**{part: float(newest.get(f"seconds_{part}", 0.0)) for part in _TIMES}),
        split=evaluations[-1]["split"] if evaluations else "",
        stopped_by=next((str(event["reason"]) for event in reversed(kept) if event["kind"] == "stop"), ""),
        device=next((str(event["device"]) for event in reversed(kept) if event["kind"] == "start"), ""),
        steps=max((event["step"] for event in kept), default=0),
        last_step=int(newest.get("last_step", 0)),
        seconds=max((event["seconds"] for event in kept if event["kind"] not in LATE), default=0.0),
        epochs=max((event["epoch"] for event in kept), default=0.0),
        rows=int(newest.get("rows", 0)),
        bytes_sent=float(newest.get("bytes_sent", 0.0)),
        attempts=len({event["attempt"] for event in everything}),
        checkpoints=sum(event["kind"] == "checkpoint" for event in everything),
    )


def as_number(value: float | None) -> float:
    """A stored metric: null stands for what is no finite number."""
    return math.nan if value is None else float(value)


def _pointer(train: Sequence[Event]) -> Callable[[Event, float], Point]:
    """Points of events; where one does not tell the bytes sent, they are read between the two that do."""
    steps = [0, *(event["step"] for event in train)]
    sent = [0.0, *(float(event["bytes_sent"]) for event in train)]

    def point(event: Event, value: float) -> Point:
        at = event["step"]
        return Point(at, event["seconds"], event["epoch"], float(np.interp(at, steps, sent)), float(value))

    return point


def _curve(train: Sequence[Event], key: str) -> Curve:
    point = _pointer(train)
    return Curve(tuple(point(event, event[key]) for event in train if event[key] is not None))


def _by_worker(balances: Sequence[Event], key: str, point: Callable[[Event, float], Point]) -> tuple[Curve, ...]:
    """A curve of each worker. After a recovery there may be fewer workers than before."""
    workers = max((len(event[key]) for event in balances), default=0)
    return tuple(
        Curve(tuple(point(event, event[key][rank]) for event in balances if rank < len(event[key])))
        for rank in range(workers)
    )


def _lanes(
    balances: Sequence[Event], end: Sequence[Event], point: Callable[[Event, float], Point]
) -> tuple[Curve, ...]:
    """The lanes of each worker: those that were measured, those that were dealt then, and so on to the end."""
    if not balances:
        return ()
    begin = {**balances[0], "step": 0, "seconds": 0.0, "epoch": 0.0}
    told = [{**event, "lanes": lanes} for event in balances for lanes in (event["lanes"], event["next_lanes"])]
    ends = [{**event, "lanes": balances[-1]["next_lanes"]} for event in end]
    return _by_worker([begin, *told, *ends], "lanes", point)


def _metrics(
    evaluations: Sequence[Event], point: Callable[[Event, float], Point]
) -> tuple[dict[str, dict[str, Curve]], dict[str, dict[str, float]]]:
    """The curves and the trivial baselines, by split and name."""
    found: dict[str, dict[str, list[Point]]] = {}
    for event in evaluations:
        for name, value in event["metrics"].items():
            found.setdefault(event["split"], {}).setdefault(name, []).append(point(event, as_number(value)))
    curves = {split: {n: Curve(tuple(points)) for n, points in named.items()} for split, named in found.items()}
    return curves, {event["split"]: dict(event["baseline"]) for event in evaluations}
