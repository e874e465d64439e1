"""Which plots a run has, and what each of them shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from echelon.report import format
from echelon.report.history import Axis, Curve, History
from echelon.report.palette import SERIES
from echelon.report.plots import Line, Reference, line_figure

LOG_FROM = 30.0
"""From this ratio of the largest loss to the smallest on, its axis is logarithmic."""


@dataclass(frozen=True)
class Panel:
    """What one plot of a run shows. lines: its lines against a given axis."""

    title: str
    lines: Callable[[Axis], list[Line]]
    reference: Reference | None = None
    note: str = ""
    log: bool = False

    def figure(self, axis: Axis, marks: Sequence[float] = ()) -> Figure:
        return line_figure(self.lines(axis), axis, reference=self.reference, marks=marks, log=self.log)


def panels(history: History, main: str | None = None) -> list[Panel]:
    """The plots of a run, the most telling first: metrics (`main` before the others), loss, speed, learning rate."""
    evaluated = {name for named in history.metrics.values() for name in named}
    named = sorted(evaluated - {"loss"}, key=lambda name: (name != main, name))
    shown = [_metric_panel(history, name) for name in named]
    if history.loss.points or "loss" in evaluated:
        shown.insert(0 if main == "loss" else min(1, len(shown)), _loss_panel(history))
    if history.rows_per_second.points:
        shown.append(Panel("rows per second", _one("rows per second", history.rows_per_second, SERIES[2])))
    if len(set(history.rate.values)) > 1:
        shown.append(Panel("learning rate", _one("learning rate", history.rate, SERIES[3])))
    return shown


def _metric_panel(history: History, name: str) -> Panel:
    curves = {split: named[name] for split, named in history.metrics.items() if name in named}
    base = history.baselines.get(history.split, {}).get(name)

    def lines(axis: Axis) -> list[Line]:
        return [Line(s, c.against(axis), c.values, SERIES[i % 6]) for i, (s, c) in enumerate(curves.items())]

    reference = None if base is None else Reference(f"trivial baseline {format.metric(base)}", base)
    return Panel(name, lines, reference, note="on " + " and ".join(curves))


def _loss_panel(history: History) -> Panel:
    curves = {"training": history.loss}
    curves |= {split: named["loss"] for split, named in history.metrics.items() if "loss" in named}
    values = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    log = bool(values) and min(values) > 0 and max(values) / min(values) > LOG_FROM

    def lines(axis: Axis) -> list[Line]:
        colours = (SERIES[1], SERIES[0], *SERIES[2:])
        return [
            Line(s, c.against(axis), c.values, colours[i % 6]) for i, (s, c) in enumerate(curves.items()) if c.points
        ]

    return Panel("loss", lines, note=" and ".join(curves), log=log)


def _one(label: str, curve: Curve, colour: str) -> Callable[[Axis], list[Line]]:
    return lambda axis: [Line(label, curve.against(axis), curve.values, colour)]
