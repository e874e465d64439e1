"""One HTML page about a run, or about several: everything is inside it, and it asks the network for nothing.

Raises on import:
    EchelonError: matplotlib or jinja2 is not installed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from echelon import __version__
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.report import format
from echelon.report.history import AXES, History
from echelon.report.palette import DARK, LIGHT, css
from echelon.report.summary import (
    Headline,
    Json,
    final_metrics,
    headline,
    learner_label,
    smaller_is_better,
    state,
    strategy_label,
    times,
    type_name,
    workers_label,
)  # fmt: skip
from echelon.report.tables import facts

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise EchelonError("the report page needs jinja2: pip install 'echelon[report]'") from error

from echelon.report.panels import panels
from echelon.report.plots import image_png, inline_svg


@dataclass(frozen=True)
class Sample:
    """One row of a split with what the model made of it.

    image: uint8 [3, H, W], or [1, H, W] for grey; None for other recipes. fields: what to write below it, by name.
    correct: whether the prediction is right; None where that is no question.
    """

    image: np.ndarray | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    correct: bool | None = None


@dataclass(frozen=True)
class Share:
    """A part of the whole time."""

    name: str
    seconds: str
    percent: str
    fraction: float


def run_page(config: Json, results: Json, history: History, samples: Sequence[Sample] = (), *, name: str = "") -> str:
    """The page of one run.

    Args:
        config: config.json. results: results.json, or {} while there is none. name: the run folder's name or URL.
    """
    main = headline(config, results, history)
    metrics, baseline = final_metrics(results, history)
    told = facts(results, history)
    return render(
        "run.html",
        title=name.rstrip("/").rsplit("/", 1)[-1] or learner_label(config),
        name=name,
        labels=(learner_label(config), strategy_label(config), workers_label(config)),
        state=state(results),
        error=str(results.get("error") or ""),
        created=config.get("created", ""),
        main=main,
        meter=_meter(main),
        metrics=[_metric_row(n, v, baseline.get(n)) for n, v in metrics.items()],
        split=results.get("split") or history.split,
        tiles={k: told[k] for k in ("time", "steps", "epochs", "rows per second", "bytes sent", "attempts")},
        stopped_by=told["stopped by"],
        axes=AXES,
        charts=_charts(history, main),
        shares=_shares(results, history),
        samples=[_sample(sample) for sample in samples],
        recoveries=history.recoveries,
        configuration=_configuration(config),
        environment={"echelon": config.get("echelon", format.MISSING), **config.get("environment", {})},
    )


def write_page(page: str, target: str | Path) -> None:
    """Writes a page to a path or a URL (s3://, hdfs://, …).

    Raises:
        StorageError: it cannot be written.
    """
    folder, _, file = str(target).rpartition("/")
    open_storage(folder or ("/" if str(target).startswith("/") else ".")).write(file, page.encode())


def render(template: str, **values: Any) -> str:
    """A template of this package with the theme and the formats. Every value is escaped unless it is markup."""
    environment = Environment(
        loader=PackageLoader("echelon.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "format": format,
        "light": Markup(css(LIGHT)),
        "dark": Markup(css(DARK)),
        "version": __version__,
        "now": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return environment.get_template(template).render(values)


def plot(figure: Any, title: str, *, salt: str) -> Markup:
    """A figure as markup of the page; matplotlib escapes its texts."""
    return Markup(inline_svg(figure, title, salt=salt))


def _charts(history: History, main: Headline | None) -> list[dict[str, Any]]:
    result = []
    for number, panel in enumerate(panels(history, main.metric if main else None)):
        plots = {}
        for axis in AXES:
            marks = [getattr(r, {"steps": "step", "epochs": "epoch"}.get(axis, axis)) for r in history.recoveries]
            title = f"{panel.title} against {axis}"
            plots[axis] = plot(panel.figure(axis, marks), title, salt=f"{number}-{axis}")
        result.append({"title": panel.title, "note": panel.note + (", log scale" if panel.log else ""), "plots": plots})
    return result


def _metric_row(name: str, value: float, base: float | None) -> dict[str, Any]:
    better = None if base is None else (value < base if smaller_is_better(name) else value > base)
    difference = format.MISSING if base is None else f"{value - base:+.4f}".replace("-", "−")
    return {"name": name, "value": value, "baseline": base, "difference": difference, "better": better}


def _meter(main: Headline | None) -> dict[str, float] | None:
    """Positions in percent of the value and the baseline on a bar from 0 to 1, for metrics that live there."""
    if main is None or main.baseline is None or smaller_is_better(main.metric):
        return None
    inside = 0 <= main.value <= 1 and 0 <= main.baseline <= 1
    return {"value": 100 * main.value, "baseline": 100 * main.baseline} if inside else None


def _shares(results: Json, history: History) -> list[Share]:
    spent = times(results, history)
    total = float(results.get("seconds") or history.seconds)
    parts = {
        "computing": spent.computing,
        "synchronising": spent.synchronising,
        "reading": spent.reading,
        "evaluating, writing and starting": spent.other(total),
    }
    whole = sum(parts.values())
    if not whole:
        return []
    return [Share(n, format.seconds(s), format.percent(s, whole), s / whole) for n, s in parts.items()]


def _sample(sample: Sample) -> dict[str, Any]:
    image = None
    if sample.image is not None:
        image = "data:image/png;base64," + base64.b64encode(image_png(sample.image)).decode()
    return {"image": image, "fields": sample.fields, "correct": sample.correct}


def _configuration(config: Json) -> dict[str, dict[str, str]]:
    """All that was asked, by its part."""
    dataset = config.get("dataset", {})
    rows = dataset.get("rows")
    counts = {f"rows in {s}": format.number(n) for s, n in rows.items()} if isinstance(rows, dict) else {}
    parts: dict[str, Json] = {
        f"learner {type_name(config.get('learner', {}))}": config.get("learner", {}).get("fields", {}),
        f"strategy {type_name(config.get('strategy', {}))}": {
            **config.get("strategy", {}).get("fields", {}),
            "workers": config.get("workers"),
        },
        "dataset": {**{k: v for k, v in dataset.items() if k != "rows"}, **counts},
        "training": config.get("config", {}),
    }
    return {part: {k: _plain(v) for k, v in values.items()} for part, values in parts.items() if values}


def _plain(value: object) -> str:
    if value is None:
        return format.MISSING
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
