"""The page of several runs.

Raises on import:
    EchelonError: matplotlib or jinja2 is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from echelon.report import format
from echelon.report.compare import COSTS, ENDS, Show, cost_of, end_of, range_of, remark, target_label, title_of
from echelon.report.comparison import Comparison, Group, Spread, mean_of
from echelon.report.history import Axis, Curve, Times
from echelon.report.palette import SERIES
from echelon.report.plots import Line, Look, Reference, line_figure
from echelon.report.recorded import RecordedRun
from echelon.report.render import drawing, render
from echelon.report.shares import shares_of
from echelon.report.summary import learner_label, times
from echelon.train.results import FINISHED
from echelon.train.stopping import smaller_is_better

LOG_FROM = 5.0
"""From this ratio of the most bytes of a group to those of another on, the axis of the bytes is logarithmic."""


def compare_page(comparison: Comparison) -> str:
    """Tables and curves of a comparison, as one HTML page."""
    runs = [run for group in comparison.groups for run in group.runs]
    return render(
        "compare.html",
        title=f"{comparison.metric.capitalize()} of {_and([group.label for group in comparison.groups])}",
        labels=_facts(runs),
        target="" if comparison.target is None else target_label(comparison),
        comparison=comparison,
        axes=(),
        colours=[_colour(number) for number in range(len(comparison.groups))],
        findings=_findings(comparison),
        charts=_charts(comparison),
        several=any(len(group.runs) > 1 for group in comparison.groups),
        columns=[comparison.metric, *map(title_of, ENDS)],
        ends=[_ends(comparison, group) for group in comparison.groups],
        cost_columns=[title_of(name) for name in COSTS],
        costs=[_costs(comparison, group) for group in comparison.groups] if comparison.target is not None else [],
        bars=_bars(comparison),
        runs=[
            (group, run, run.history.metric(comparison.metric).last)
            for group in comparison.groups
            for run in group.runs
        ],
    )


def _facts(runs: Sequence[RecordedRun]) -> list[str]:
    learners = dict.fromkeys(learner_label(run.config) for run in runs)
    splits = dict.fromkeys(f"evaluated on {run.history.split}" for run in runs)
    return [*learners, *splits, f"{len(runs)} run{'' if len(runs) == 1 else 's'}"]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _colour(number: int) -> str:
    return SERIES[number % len(SERIES)]


def _findings(comparison: Comparison) -> list[dict[str, str]]:
    """The best group by each figure, and the next, if there are at least two to compare."""
    done = [group for group in comparison.groups if all(run.state == FINISHED for run in group.runs)]
    if comparison.target is None:
        final = {group.label: group.final(comparison.metric).mean for group in done}
        least = smaller_is_better(comparison.metric)
        ends = {name: {g.label: g.spread(end_of(name)).mean for g in done} for name in ("seconds", "bytes_sent")}
        return [
            _finding(f"best {comparison.metric} at the end", final, format.metric, least=least),
            _finding("shortest training", ends["seconds"], format.seconds),
            _finding("fewest bytes sent", ends["bytes_sent"], format.size),
        ]
    titles = {"steps": "fewest steps", "seconds": "least time", "bytes": "fewest bytes"}
    result = []
    for name, show in COSTS.items():
        spent = {group.label: cost_of(comparison, group, name) for group in done if not remark(comparison, group)}
        means = {label: spread.mean for label, spread in spent.items() if spread is not None}
        result.append(_finding(f"{titles[name]} to {target_label(comparison)}", means, show))
    return result


def _finding(title: str, values: dict[str, float], show: Show, *, least: bool = True) -> dict[str, str]:
    ranked = sorted(values, key=lambda label: values[label] if least else -values[label])
    if not ranked:
        return {"title": title, "value": "not reached", "by": "by all runs of any group", "next": ""}
    told = {"title": title, "value": show(values[ranked[0]]), "by": ranked[0], "next": ""}
    if len(ranked) > 1:
        told["next"] = f"{ranked[1]}: {show(values[ranked[1]])}"
    return told


def _charts(comparison: Comparison) -> list[dict[str, Any]]:
    """The metric against steps, seconds and bytes, and the training loss against steps."""
    references = []
    if comparison.baseline is not None:
        references.append(Reference(f"trivial baseline {format.metric(comparison.baseline)}", comparison.baseline))
    if comparison.target is not None:
        references.append(Reference(f"target {comparison.target:g}", comparison.target))
    metric, result = comparison.metric, []
    axes: tuple[Axis, ...] = ("steps", "seconds", "bytes")
    for axis in axes:
        lines = _lines(comparison, lambda run: run.history.metric(metric), axis)
        look = Look(legend=False, log_x=axis == "bytes" and _wide(lines))
        if axis == "bytes" and not any(x > 0 for line in lines for x in line.x):
            continue
        figure = line_figure(lines, axis, references=references, look=look)
        result.append(_chart(f"{metric} against {title_of(axis)}", figure, _CAPTIONS[axis], look))
    loss = _lines(comparison, lambda run: run.history.loss, "steps")
    if any(line.x for line in loss):
        figure = line_figure(loss, "steps", look=Look(legend=False))
        result.append(_chart("training loss against steps", figure, "Mean between two reports."))
    return result


_CAPTIONS: dict[str, str] = {
    "steps": "At each evaluation. Global steps: equal positions have seen equally many batches.",
    "seconds": "Seconds of training on the machines of each run, evaluations and checkpoints included.",
    "bytes": "What all workers together sent to each other.",
}


def _chart(title: str, figure: Any, caption: str, look: Look | None = None) -> dict[str, Any]:
    if look is not None and look.log_x:
        caption += " Logarithmic axis."
    return {"title": title, "caption": caption, "plot": drawing(figure, title, salt=title)}


def _wide(lines: Sequence[Line]) -> bool:
    """Whether groups end so far apart that one would be squeezed to the left; none may be at zero."""
    ends = [max(line.x) for line in lines if len(line.x) and not line.faint]
    positive = all(x > 0 for line in lines for x in line.x)
    return positive and len(ends) > 1 and max(ends) / min(ends) >= LOG_FROM


def _lines(comparison: Comparison, curve: Callable[[RecordedRun], Curve], axis: Axis) -> list[Line]:
    """Of each group the mean with its range, above its runs."""
    lines: list[Line] = []
    for number, group in enumerate(comparison.groups):
        colour, dashed = _colour(number), number >= len(SERIES)
        curves = [found for run in group.runs if (found := curve(run)).points]
        if len(curves) > 1:
            lines += [Line(group.label, c.against(axis), c.values, colour, faint=True) for c in curves]
        if curves:
            mean = mean_of(curves)
            lines.append(
                Line(
                    group.label, mean.curve.against(axis), mean.curve.values, colour, mean.low, mean.high, False, dashed
                )
            )
    return lines


def _ends(comparison: Comparison, group: Group) -> list[tuple[str, str]]:
    """(mean, range) of the metric and of the figures at the end."""
    final = group.final(comparison.metric)
    cells = [(format.metric(final.mean), range_of(final, format.metric))]
    for name, show in ENDS.items():
        spread = group.spread(end_of(name))
        cells.append((show(spread.mean), range_of(spread, show)))
    return cells


def _costs(comparison: Comparison, group: Group) -> dict[str, Any]:
    """What the target took: (mean, range, percent of the group that took most), None where it was not reached."""
    cells = []
    for name, show in COSTS.items():
        own = cost_of(comparison, group, name)
        most = max((_mean(cost_of(comparison, other, name)) for other in comparison.groups), default=0.0)
        cells.append(own and (show(own.mean), range_of(own, show), 100 * own.mean / most if most else 0.0))
    return {"cells": cells, "remark": remark(comparison, group)}


def _mean(spread: Spread | None) -> float:
    return spread.mean if spread else 0.0


def _bars(comparison: Comparison) -> list[dict[str, Any]]:
    """Where the time of each group went, as the mean over its runs; the longest bar is 100 percent wide."""
    totals = [group.spread(end_of("seconds")).mean for group in comparison.groups]
    longest = max(totals)
    result = []
    for group, total in zip(comparison.groups, totals, strict=True):
        spent = [times(run) for run in group.runs]
        count = len(spent)
        mean = Times(
            *(sum(parts) / count for parts in zip(*((t.reading, t.computing, t.synchronising) for t in spent)))
        )
        width = 100 * total / longest if longest else 0.0
        result.append({"label": group.label, "shares": shares_of(mean, total), "width": width, "total": total})
    return result
