"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from echelon.data.storage import open_storage
from echelon.report import format
from echelon.report.exhibits import ConfusionMatrix, Exhibit, Figures
from echelon.report.recorded import STOPPED_ANSWERING, RecordedRun
from echelon.report.summary import (
    Figure,
    facts,
    figures,
    headline,
    learner_label,
    short_strategy_label,
    strategy_label,
    workers_label,
)  # fmt: skip

STYLE_OF_STATE = {"finished": "green", "failed": "red", "running": "yellow", STOPPED_ANSWERING: "red"}


def evaluation_table(metrics: Mapping[str, float], baseline: Mapping[str, float], *, split: str = "") -> Table:
    """Each metric beside what the trivial predictor reaches."""
    table = new_table("evaluation" + (f" on {split}" if split else ""))
    table.add_column("metric")
    for name in ("value", "trivial baseline", "difference"):
        table.add_column(name, justify="right")
    for name, value in metrics.items():
        _add(table, Figure(name, value, baseline.get(name)))
    return table


def exhibit_table(exhibit: Exhibit) -> Table | None:
    """An exhibit of figures for the terminal; None of pictures and texts, which are for the page."""
    table = new_table(exhibit.title)
    if isinstance(exhibit, ConfusionMatrix):
        heads = ["true", *exhibit.classes]
        rows: Sequence[Sequence[str | float]] = [
            [name, *counts] for name, counts in zip(exhibit.classes, exhibit.counts, strict=True)
        ]
    elif isinstance(exhibit, Figures):
        heads, rows = list(exhibit.columns), exhibit.rows
    else:
        return None
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(format.cell(value)) for value in row))
    return table


def final_table(run: RecordedRun) -> Table:
    """What came out of a run: metrics beside the trivial baselines, speed, traffic, and where the time went."""
    labels = (learner_label(run.config), strategy_label(run.config), workers_label(run.config))
    table = new_table(" · ".join(labels))
    table.add_column("")
    for name in ("value", "trivial baseline", "difference"):
        table.add_column(name, justify="right")
    for figure in figures(run):
        _add(table, figure)
    table.add_section()
    for name, text in facts(run).items():
        table.add_row(name, Text(text))
    if run.error:
        table.add_row("failed", Text(run.error, "red"))
    return table


def runs_table(runs: Iterable[RecordedRun], root: str = "") -> Table:
    """One line a run, called by its path within the folder `root`."""
    above = format.place(open_storage(root).url) if root else ""
    table = new_table("runs")
    table.collapse_padding, table.pad_edge = True, False
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for name in ("steps", "metric", "time"):
        table.add_column(name, justify="right", no_wrap=name != "metric")
    for name in ("learner", "strategy × workers", "begun"):
        table.add_column(name)
    for run in runs:
        main = headline(run)
        table.add_row(
            Text(format.place(run.url).removeprefix(above).strip("/") or run.name, "bold"),
            Text(run.state, STYLE_OF_STATE.get(run.state, "dim")),
            format.number(run.results.get("steps")),
            Text(f"{main.metric} {format.metric(main.value)}" if main else format.MISSING),
            format.seconds(run.results.get("seconds")),
            Text(learner_label(run.config)),
            Text(f"{short_strategy_label(run.config)} × {format.number(run.config.get('workers'))}"),
            format.moment(run.config.get("created")),
        )
    return table


def new_table(title: str) -> Table:
    """An empty table in the style of all."""
    return Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)


def _add(table: Table, figure: Figure) -> None:
    style = {True: "green", False: "red", None: "dim"}[figure.better]
    table.add_row(
        Text(figure.metric, "bold"),
        Text(format.metric(figure.value), "bold"),
        format.metric(figure.baseline),
        Text(format.difference(figure.difference), style),
    )
