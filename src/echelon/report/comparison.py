"""Several runs beside each other: runs that differ by the seed alone are one group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from echelon.errors import EchelonError
from echelon.report.history import Curve, Point
from echelon.report.recorded import RecordedRun
from echelon.report.summary import headline, strategy_label, workers_label
from echelon.train.results import FINISHED
from echelon.train.stopping import smaller_is_better

_MOST_DIFFERENCES = 2
"""So many settings are named in a label; groups that differ by more are called by their runs."""
_SAID = ("strategy", "workers", "dataset", "learner", "state")
"""Settings that a label does not give as "name value"."""


@dataclass(frozen=True)
class Spread:
    """Values over the runs of a group, at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Mean:
    """The mean of the runs of a group where all of them have values, and the least and the greatest of each step.

    Positions on the axes are means too: of the seconds, epochs and bytes at which the runs came to a step.
    """

    curve: Curve
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """Runs of the same configuration but for the seed, at least one."""

    label: str
    runs: tuple[RecordedRun, ...]

    def curves(self, metric: str) -> list[Curve]:
        """The values of a metric, by run."""
        return [run.history.metric(metric) for run in self.runs]

    def spread(self, figure: Callable[[RecordedRun], float]) -> Spread:
        return Spread(tuple(figure(run) for run in self.runs))

    def final(self, metric: str) -> Spread:
        """The newest values of a metric."""
        return Spread(tuple(curve.points[-1].value for curve in self.curves(metric)))


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, by one metric.

    target: a value of the metric whose cost is asked for, or None. notes: what a reader must know to be fair.
    """

    metric: str
    groups: tuple[Group, ...]
    target: float | None = None
    notes: tuple[str, ...] = ()

    def reached(self, group: Group) -> list[Point | None]:
        """The first evaluation of each run of a group that reached the target; None where none did."""
        target = math.nan if self.target is None else self.target
        return [first_reaching(curve, self.metric, target) for curve in group.curves(self.metric)]

    @cached_property
    def baseline(self) -> float | None:
        """What the trivial predictor reaches, if that is the same for all."""
        found = {
            run.history.baselines.get(run.history.split, {}).get(self.metric)
            for group in self.groups
            for run in group.runs
        }
        return found.pop() if len(found) == 1 else None


def first_reaching(curve: Curve, metric: str, target: float) -> Point | None:
    """The first point at which a metric is as good as the target; None if there is none."""
    better = (lambda value: value <= target) if smaller_is_better(metric) else (lambda value: value >= target)
    return next((point for point in curve.points if better(point.value)), None)


def mean_of(curves: Sequence[Curve]) -> Mean:
    """The mean of some curves between the last of their beginnings and the first of their ends.

    Runs that were evaluated at other steps than each other are interpolated.
    """
    begin = max(curve.points[0].steps for curve in curves)
    end = min(curve.points[-1].steps for curve in curves)
    steps = sorted({p.steps for curve in curves for p in curve.points if begin <= p.steps <= end})
    if not steps:
        return Mean(Curve(), (), ())

    def at(name: str) -> np.ndarray:
        """One quantity of every curve at the common steps: float64 [curves, steps]."""
        return np.array([np.interp(steps, c.against("steps"), [getattr(p, name) for p in c.points]) for c in curves])

    value = at("value")
    means = [at(name).mean(0).tolist() for name in ("seconds", "epochs", "bytes", "value")]
    points = tuple(Point(*point) for point in zip(steps, *means, strict=True))
    return Mean(Curve(points), tuple(value.min(0).tolist()), tuple(value.max(0).tolist()))


def compared(runs: Sequence[RecordedRun], metric: str | None = None, target: float | None = None) -> Comparison:
    """The comparison of some runs.

    Args:
        metric: default what the first run that was evaluated is judged by.

    Raises:
        EchelonError: no run was evaluated by this metric.
    """
    main = next((figure for run in runs if (figure := headline(run))), None)
    metric = metric or (main.metric if main else "")
    fit = [run for run in runs if run.history.metric(metric).points]
    if not fit:
        known = dict.fromkeys(name for run in runs for named in run.history.metrics.values() for name in named)
        raise EchelonError(
            f"no run was evaluated by '{metric}'; there are: {', '.join(known)}"
            if known
            else "none of these runs was evaluated, so there is nothing to compare"
        )
    return Comparison(metric, _grouped(fit), target, tuple(_notes(runs, fit, metric)))


def _notes(runs: Sequence[RecordedRun], fit: Sequence[RecordedRun], metric: str) -> list[str]:
    """What makes a comparison less fair than it looks.

    Args:
        fit: those of the runs that were evaluated by the metric.
    """
    notes = []
    if left_out := [run.name for run in runs if not run.history.metric(metric).points]:
        notes.append(f"Left out, as they were never evaluated by {metric}: {', '.join(left_out)}.")
    if len({run.config.get("dataset", {}).get("digest") for run in fit}) > 1:
        notes.append("These runs were not trained on the same dataset, so their metrics are not on equal terms.")
    if len({run.history.split for run in fit}) > 1:
        splits = ", ".join(f"{run.name} on {run.history.split}" for run in fit)
        notes.append(f"These runs were not evaluated on the same split: {splits}.")
    if unfinished := [f"{run.name} ({run.state})" for run in fit if run.state != FINISHED]:
        notes.append(f"Not finished, and shown as far as they came: {', '.join(unfinished)}.")
    if recovered := [run.name for run in fit if run.history.recoveries]:
        notes.append(f"Lost workers and recovered: {', '.join(recovered)}. The time that this cost is not counted.")
    return notes


def _grouped(runs: Sequence[RecordedRun]) -> tuple[Group, ...]:
    """Groups in the order in which their first runs are given, each with a label of its own."""
    groups: dict[str, list[RecordedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_settings(run), sort_keys=True, default=str), []).append(run)
    members = list(groups.values())
    labels = _labels([group[0] for group in members])
    return tuple(Group(label, tuple(group)) for label, group in zip(labels, members, strict=True))


def _settings(run: RecordedRun) -> dict[str, Any]:
    """All that makes runs comparable, in one level: the seed is left out, and what is not finished is no peer."""
    config = run.config
    learner, dataset = config.get("learner", {}), config.get("dataset", {})
    return {
        "learner": learner.get("type"),
        **learner.get("fields", {}),
        **{name: value for name, value in config.get("config", {}).items() if name != "seed"},
        "dataset": dataset.get("digest"),
        "workers": config.get("workers"),
        "strategy": strategy_label(config),
        "state": run.state,
    }


def _labels(runs: Sequence[RecordedRun]) -> list[str]:
    """The strategy of each, with what else it differs by from the others."""
    settings = [_settings(run) for run in runs]
    names = dict.fromkeys(name for values in settings for name in values)
    differing = [n for n in names if len({json.dumps(v.get(n), default=str) for v in settings}) > 1]
    others = [name for name in differing if name not in _SAID]
    named = len(others) > _MOST_DIFFERENCES or {"dataset", "learner"} & set(differing)
    labels = []
    for run, values in zip(runs, settings, strict=True):
        parts = [strategy_label(run.config)]
        if "workers" in differing:
            parts.append(workers_label(run.config))
        if run.state != FINISHED:
            parts.append(run.state)
        parts += [run.name] if named else [f"{name} {values.get(name)}" for name in others]
        labels.append(", ".join(parts))
    return [label if labels.count(label) == 1 else f"{label} ({run.url})" for label, run in zip(labels, runs)]
