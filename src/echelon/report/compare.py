"""What `echelon compare` shows: a table for the terminal, and one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from echelon.report import format
from echelon.report.comparison import Comparison, Group, Spread, compared
from echelon.report.recorded import RecordedRun, read_run
from echelon.report.summary import best_point
from echelon.report.tables import new_table
from echelon.train.stopping import smaller_is_better

Show = Callable[[float], str]

ENDS: dict[str, Show] = {
    "steps": format.number,
    "seconds": format.seconds,
    "bytes_sent": format.size,
    "rows_per_second": format.number,
}
"""Figures of results.json that are compared, and how they are written."""

COSTS: dict[str, Show] = {"steps": format.number, "seconds": format.seconds, "bytes": format.size}
"""What it took to come to a value."""

TITLES = {"seconds": "time", "bytes": "bytes sent", "bytes_sent": "bytes sent", "rows_per_second": "rows per second"}


def compare_runs(urls: Iterable[str], *, metric: str | None = None, target: float | None = None) -> Comparison:
    """The comparison of the runs at some paths or URLs.

    Args:
        metric: default what the first run is judged by. target: a value of it whose cost in steps, seconds and bytes
            is asked for.

    Raises:
        EchelonError: one of them is no run, or none was evaluated by this metric.
    """
    return compared([read_run(url) for url in urls], metric, target)


def compare_table(comparison: Comparison) -> RenderableType:
    """For the terminal: what the groups came to, what the target cost, and what a reader must know to be fair."""
    parts: list[RenderableType] = [_ends(comparison)]
    if comparison.target is not None:
        parts.append(_costs(comparison))
    parts += [Padding(Text(note, "yellow"), (0, 2)) for note in comparison.notes]
    return Stack(*parts)


def target_label(comparison: Comparison) -> str:
    """For example "accuracy ≥ 0.6"."""
    sign = "≤" if smaller_is_better(comparison.metric) else "≥"
    return f"{comparison.metric} {sign}\N{NO-BREAK SPACE}{comparison.target:g}"


def end_of(name: str) -> Callable[[RecordedRun], float]:
    """A figure of the results of a run; zero where there is none."""
    return lambda run: float(run.results.get(name) or 0.0)


def cost_of(comparison: Comparison, group: Group, name: str) -> Spread | None:
    """What those runs of a group that reached the target took to do so; None if none did."""
    reached = [float(getattr(point, name)) for point in comparison.reached(group) if point is not None]
    return Spread(tuple(reached)) if reached else None


def range_of(spread: Spread, show: Show) -> str:
    """The least and the greatest value, or "" if they look the same."""
    low, high = show(spread.low), show(spread.high)
    return "" if low == high else f"{low} – {high}"


def remark(comparison: Comparison, group: Group) -> str:
    """Of a group that did not reach the target as a whole: how many runs did, or how near the best one came."""
    reached = sum(point is not None for point in comparison.reached(group))
    if reached == len(group.runs):
        return ""
    if reached:
        return f"{reached} of {len(group.runs)} runs"
    points = [point for curve in group.curves(comparison.metric) for point in curve.points]
    return f"best {format.metric(best_point(points, comparison.metric).value)}"


def title_of(name: str) -> str:
    """What a figure is called in the head of a column."""
    return TITLES.get(name, name)


def _ends(comparison: Comparison) -> Table:
    table = _table(f"{comparison.metric} at the end", ["runs", comparison.metric, *map(title_of, ENDS)])
    for group in comparison.groups:
        spreads = [(group.spread(end_of(name)), show) for name, show in ENDS.items()]
        cells = [_cell(*spread) for spread in [(group.final(comparison.metric), format.metric), *spreads]]
        table.add_row(_label(group), str(len(group.runs)), *cells)
    if any(len(group.runs) > 1 for group in comparison.groups):
        table.caption = "mean over the runs of a group; below it the least and the greatest"
    return table


def _costs(comparison: Comparison) -> Table:
    table = _table(f"first evaluation with {target_label(comparison)}", [*map(title_of, COSTS), ""])
    for group in comparison.groups:
        cells: list[Text] = []
        for name, show in COSTS.items():
            spread = cost_of(comparison, group, name)
            cells.append(Text("not reached", "red") if spread is None else _cell(spread, show))
        table.add_row(_label(group), *cells, Text(remark(comparison, group), "yellow"))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = new_table(title)
    table.collapse_padding, table.pad_edge = True, False
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    table.caption_justify = "left"
    return table


def _label(group: Group) -> Text:
    """In two lines, as the figures beside it: a strategy with its fields would else be broken anywhere."""
    return Text(group.label.replace("(", "\n(", 1), "bold")


def _cell(spread: Spread, show: Show) -> Text:
    around = range_of(spread, show)
    return Text.assemble(show(spread.mean), (f"\n{around}" if around else "", "dim"))
