"""Which plots a run has, and what each of them shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echelon.report import format
from echelon.report.history import Axis, Curve, History
from echelon.report.palette import SERIES
from echelon.report.plots import PLAIN, Line, Look, Reference, line_figure
from echelon.report.summary import best_point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_FROM = 30.0
"""From this ratio of the largest loss to the smallest on, its axis is logarithmic."""


@dataclass(frozen=True)
class Panel:
    """What one plot of a run shows. lines: its lines against a given axis. caption: what is seen, in words."""

    title: str
    lines: Callable[[Axis], list[Line]]
    caption: str
    references: tuple[Reference, ...] = ()
    look: Look = PLAIN

    def figure(self, axis: Axis, marks: Sequence[float] = ()) -> Figure:
        return line_figure(self.lines(axis), axis, references=self.references, marks=marks, look=self.look)


def panels(history: History, main: str | None = None) -> list[Panel]:
    """The plots of a run, the most telling first: metrics (`main` before the others), loss, speed, learning rate,
    and the workers' shares if they were balanced.
    """
    evaluated = list(dict.fromkeys(name for named in history.metrics.values() for name in named))
    named = sorted((name for name in evaluated if name != "loss"), key=lambda name: name != main)
    shown = [_metric_panel(history, name) for name in named]
    if history.loss.points or "loss" in evaluated:
        shown.insert(0 if main == "loss" else min(1, len(shown)), _loss_panel(history))
    if history.rows_per_second.points:
        lines = _one("rows per second", history.rows_per_second, SERIES[2])
        caption = "Of all workers together, mean between two reports."
        shown.append(Panel("rows per second", lines, caption, look=Look(from_zero=True)))
    if len(set(history.rate.values)) > 1:
        lines = _one("learning rate", history.rate, SERIES[3])
        shown.append(Panel("learning rate", lines, "Of the optimizer's first group, at each report."))
    if history.lanes:
        caption = "Slices of the rows that each worker holds; new shares begin a few steps after they are dealt."
        shown.append(_worker_panel("lanes of each worker", history.lanes, caption))
    if history.step_seconds:
        remark = history.balance_remark
        caption = f"Of its own work in a step, without waiting for others. {remark[:1].upper()}{remark[1:]}"
        shown.append(_worker_panel("seconds of each worker", history.step_seconds, caption.strip()))
    return shown


def _worker_panel(title: str, curves: Sequence[Curve], caption: str) -> Panel:
    """A line of each worker; more than there are colours are drawn thin and without names."""
    faint = len(curves) > len(SERIES)

    def lines(axis: Axis) -> list[Line]:
        return [
            Line(f"worker {rank}", c.against(axis), c.values, SERIES[rank % len(SERIES)], faint=faint)
            for rank, c in enumerate(curves)
        ]

    return Panel(title, lines, caption, look=Look(from_zero=True))


def _metric_panel(history: History, name: str) -> Panel:
    curves = {split: named[name] for split, named in history.metrics.items() if name in named}
    base = history.baselines.get(history.split, {}).get(name)

    def lines(axis: Axis) -> list[Line]:
        return [Line(s, c.against(axis), c.values, SERIES[i % 6]) for i, (s, c) in enumerate(curves.items())]

    references = () if base is None else (Reference(f"trivial baseline {format.metric(base)}", base),)
    return Panel(name, lines, _on(curves, name), references)


def _on(curves: dict[str, Curve], name: str) -> str:
    """Where a metric was evaluated, how often, and its best value."""
    points = [point for curve in curves.values() for point in curve.points if math.isfinite(point.value)]
    count = sum(len(curve.points) for curve in curves.values())
    text = f"On {' and '.join(curves)}, {count} evaluation{'s' if count > 1 else ''}"
    if len(points) < 2:
        return f"{text}."
    best = best_point(points, name)
    return f"{text}; best {format.metric(best.value)} at step {format.number(best.steps)}."


def _loss_panel(history: History) -> Panel:
    evaluated = {split: named["loss"] for split, named in history.metrics.items() if "loss" in named}
    curves = {"training": history.loss, **evaluated}
    values = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    log = bool(values) and min(values) > 0 and max(values) / min(values) > LOG_FROM

    def lines(axis: Axis) -> list[Line]:
        colours = (SERIES[1], SERIES[0], *SERIES[2:])
        return [
            Line(s, c.against(axis), c.values, colours[i % 6]) for i, (s, c) in enumerate(curves.items()) if c.points
        ]

    caption = "Training: mean between two reports." if history.loss.points else ""
    if evaluated:
        caption += f" {' and '.join(evaluated).capitalize()}: at each evaluation."
    return Panel("loss", lines, (caption + (" Logarithmic axis." if log else "")).strip(), look=Look(log_y=log))


def _one(label: str, curve: Curve, colour: str) -> Callable[[Axis], list[Line]]:
    return lambda axis: [Line(label, curve.against(axis), curve.values, colour)]
