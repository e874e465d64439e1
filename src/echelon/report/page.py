"""The page of one run: its result, curves, times, what its recipe exhibits, and configuration.

Raises on import:
    EchelonError: matplotlib or jinja2 is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from echelon.report import format
from echelon.report.exhibits import Exhibit
from echelon.report.history import AXES
from echelon.report.panels import panels
from echelon.report.recorded import Json, RecordedRun
from echelon.report.render import drawing, render
from echelon.report.shares import shares_of
from echelon.report.summary import (
    SOLVED,
    Figure,
    facts,
    figures,
    headline,
    learner_label,
    strategy_label,
    times,
    type_name,
    workers_label,
)  # fmt: skip
from echelon.train.results import FINISHED, RUNNING
from echelon.train.stopping import smaller_is_better

MOST_LISTED = 40
"""So many entries of a list are written out, such as classes; a vocabulary has thousands."""
LONGEST = 400
"""So many characters of a text, such as a path; arrays that a run keeps as texts have thousands."""
TILES = ("time", "steps", "epochs", "rows per second", "bytes sent", "attempts")


def run_page(run: RecordedRun, exhibits: Sequence[Exhibit] = ()) -> str:
    """The page of one run, as HTML. exhibits: what its recipe shows."""
    config, history, main = run.config, run.history, headline(run)
    split = history.split
    return render(
        "run.html",
        title=run.name or learner_label(config),
        run=run,
        labels=(learner_label(config), strategy_label(config), workers_label(config)),
        created=format.moment(config.get("created"), UTC),
        main=main,
        meter=_meter(main),
        figures=figures(run),
        split=split,
        rows=config.get("dataset", {}).get("rows", {}).get(split),
        tiles=_tiles(run),
        ending=_ending(run),
        axes=AXES,
        charts=_charts(run, main),
        shares=shares_of(times(run), float(run.results.get("seconds") or 0.0)),
        exhibits=exhibits,
        configuration=_configuration(config),
        environment=_environment(run),
    )


def _tiles(run: RecordedRun) -> dict[str, str]:
    told, last = facts(run), run.history.last_step
    tiles = {name: told[name] for name in TILES}
    if run.state != FINISHED and last:
        tiles["steps"] += f" of {format.number(last)}"
    return tiles


def _ending(run: RecordedRun) -> str:
    """Why the run is where it is, as a sentence."""
    if run.results.get("stopped_by"):
        return f"Training ended: {run.results['stopped_by']}."
    if run.lost is not None:
        return (
            f"Its driver has stopped answering: {run.lost}. With --resume the run goes on from its newest checkpoint."
        )
    if run.state == RUNNING:
        return "This page shows a run that was still going on, or was interrupted, when the page was made."
    return ""


def _charts(run: RecordedRun, main: Figure | None) -> list[dict[str, Any]]:
    result = []
    for number, panel in enumerate(panels(run.history, main.metric if main else None)):
        plots = {}
        for axis in AXES:
            marks = [getattr(recovery, axis) for recovery in run.history.recoveries]
            plots[axis] = drawing(panel.figure(axis, marks), f"{panel.title} against {axis}", salt=f"{number}-{axis}")
        result.append({"title": panel.title, "caption": panel.caption, "plots": plots})
    return result


def _meter(main: Figure | None) -> dict[str, float] | None:
    """Positions in percent of the value and the baseline on a bar from 0 to 1, for metrics that live there."""
    if main is None or main.baseline is None or smaller_is_better(main.metric):
        return None
    inside = 0 <= main.value <= 1 and 0 <= main.baseline <= 1
    return {"value": 100 * main.value, "baseline": 100 * main.baseline} if inside else None


def _configuration(config: Json) -> dict[str, dict[str, str]]:
    """All that was asked, by its part."""
    dataset = config.get("dataset", {})
    counts = {f"rows in {split}": format.number(count) for split, count in dataset.get("rows", {}).items()}
    solved, strategy = config.get("solved"), config.get("strategy", {})
    parts: dict[str, Json] = {
        f"learner {type_name(config.get('learner', {}))}": config.get("learner", {}).get("fields", {}),
        SOLVED if solved else f"strategy {type_name(strategy)}": {
            **({} if solved else strategy.get("fields", {})),
            "workers": config.get("workers"),
        },
        "dataset": {**{k: v for k, v in dataset.items() if k != "rows"}, **counts},
        "training": config.get("config", {}),
    }
    return {part: {k: _plain(v) for k, v in values.items()} for part, values in parts.items() if values}


def _environment(run: RecordedRun) -> dict[str, str]:
    told = {
        "echelon": run.config.get("echelon"),
        "device of rank 0": run.history.device or None,
        "checkpoints written": run.history.checkpoints,
        "run": run.url,
    }
    return {name: _plain(value) for name, value in told.items()}


def _plain(value: object) -> str:
    if value is None:
        return format.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, list):
        text = str(value)
        return (
            text if len(text) <= LONGEST else f"{text[:MOST_LISTED]}… and {len(text) - MOST_LISTED:,} more characters"
        )
    more = len(value) - MOST_LISTED
    shown = [*map(str, value[:MOST_LISTED]), *([f"… and {more:,} more"] if more > 0 else [])]
    return ", ".join(shown)
