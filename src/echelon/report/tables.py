"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich import box
from rich.table import Table
from rich.text import Text

from echelon.report import format
from echelon.report.history import History
from echelon.report.summary import (
    Json,
    final_metrics,
    headline,
    learner_label,
    smaller_is_better,
    state,
    strategy_label,
    times,
    workers_label,
)  # fmt: skip

_STYLE_OF_STATE = {"finished": "green", "failed": "red", "running": "yellow"}


@dataclass(frozen=True)
class ListedRun:
    """A run as `echelon runs` lists it: the folder's name, config.json and results.json ({} if there is none)."""

    name: str
    config: Json
    results: Json = field(default_factory=dict)


def evaluation_table(metrics: Mapping[str, float], baseline: Mapping[str, float], *, split: str = "") -> Table:
    """Each metric beside what the trivial predictor reaches."""
    table = _table("evaluation" + (f" on {split}" if split else ""))
    table.add_column("metric")
    for name in ("value", "trivial baseline", "difference"):
        table.add_column(name, justify="right")
    for name, value in metrics.items():
        base = baseline.get(name)
        table.add_row(
            Text(name), Text(format.metric(value), "bold"), format.metric(base), _difference(name, value, base)
        )
    return table


def final_table(config: Json, results: Json, history: History | None = None) -> Table:
    """What came out of a run: metrics beside the trivial baselines, speed, traffic, and where the time went."""
    history = history or History()
    metrics, baseline = final_metrics(results, history)
    table = _table(" · ".join((learner_label(config), strategy_label(config), workers_label(config))))
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("trivial baseline", justify="right")
    for name, value in metrics.items():
        table.add_row(Text(name, "bold"), Text(format.metric(value), "bold"), format.metric(baseline.get(name)))
    table.add_section()
    for name, text in facts(results, history).items():
        table.add_row(name, Text(text))
    return table


def runs_table(runs: Iterable[ListedRun]) -> Table:
    """One line a run."""
    table = _table("runs")
    for name in ("run", "learner", "strategy"):
        table.add_column(name, overflow="fold")
    table.add_column("workers", justify="right")
    table.add_column("state")
    for name in ("steps", "metric", "time"):
        table.add_column(name, justify="right")
    for run in runs:
        main = headline(run.config, run.results, History())
        table.add_row(
            Text(run.name, "bold"),
            Text(learner_label(run.config)),
            Text(strategy_label(run.config)),
            format.number(run.config.get("workers")),
            Text(state(run.results), _STYLE_OF_STATE.get(state(run.results), "dim")),
            format.number(run.results.get("steps")),
            Text(f"{main.metric} {format.metric(main.value)}" if main else format.MISSING),
            format.seconds(run.results.get("seconds")),
        )
    return table


def facts(results: Json, history: History) -> dict[str, str]:
    """What else is said of a run, in the same words wherever it is shown."""
    spent = times(results, history)
    return {
        "steps": format.number(results.get("steps", history.steps)),
        "epochs": format.number(results.get("epochs")),
        "time": format.seconds(results.get("seconds", history.seconds)),
        "rows per second": format.number(results.get("rows_per_second")),
        "bytes sent": format.size(results.get("bytes_sent", history.bytes_sent)),
        "reading": format.seconds(spent.reading),
        "computing": format.seconds(spent.computing),
        "synchronising": format.seconds(spent.synchronising),
        "attempts": format.number(results.get("attempts", history.attempts)),
        "stopped by": str(results.get("stopped_by") or history.stopped_by or format.MISSING),
    }


def _difference(name: str, value: float, base: float | None) -> Text:
    if base is None:
        return Text(format.MISSING, "dim")
    better = value < base if smaller_is_better(name) else value > base
    return Text(f"{value - base:+.4f}", "green" if better else "red")


def _table(title: str) -> Table:
    return Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
