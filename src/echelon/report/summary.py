"""What a run is called, and by which figure it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echelon.report import format
from echelon.report.history import Point, Times, as_number
from echelon.report.recorded import Json, RecordedRun
from echelon.train.stopping import smaller_is_better

SOLVED = "solved in memory"
"""In place of a strategy, which such a run has none of."""


@dataclass(frozen=True)
class Figure:
    """A metric at the end of a run, beside what the trivial predictor reaches."""

    metric: str
    value: float
    baseline: float | None = None

    @property
    def difference(self) -> float | None:
        return None if self.baseline is None else self.value - self.baseline

    @property
    def better(self) -> bool | None:
        """Whether it beats the trivial predictor; None if that is not known."""
        if self.baseline is None:
            return None
        return self.value < self.baseline if smaller_is_better(self.metric) else self.value > self.baseline


def best_point(points: Sequence[Point], metric: str) -> Point:
    """The best of some values, the earliest of equals."""
    return min(points, key=lambda point: (point.value if smaller_is_better(metric) else -point.value, point.steps))


def figures(run: RecordedRun) -> list[Figure]:
    """The metrics of the newest evaluation, in the learner's order."""
    return _figures(run.results.get("metrics") or {}, run.results.get("baseline") or {})


def headline(run: RecordedRun) -> Figure | None:
    """What to say first about a run; None if it was never evaluated."""
    monitor = run.config.get("config", {}).get("monitor")
    return main_figure(run.results.get("metrics") or {}, run.results.get("baseline") or {}, monitor)


def main_figure(metrics: Json, baseline: Json, monitor: str | None = None) -> Figure | None:
    """The monitored metric; else the first with a trivial baseline; else the first that is no loss; else the first."""
    found = _figures(metrics, baseline)
    monitored = [figure for figure in found if figure.metric == monitor]
    based = [figure for figure in found if figure.baseline is not None]
    rising = [figure for figure in found if not smaller_is_better(figure.metric)]
    return next(iter(monitored or based or rising or found), None)


def _figures(metrics: Json, baseline: Json) -> list[Figure]:
    return [Figure(name, as_number(value), baseline.get(name)) for name, value in metrics.items()]


def times(run: RecordedRun) -> Times:
    """Where the time went."""
    parts = ("reading", "computing", "synchronising")
    return Times(**{part: float(run.results.get(f"seconds_{part}") or 0.0) for part in parts})


def facts(run: RecordedRun) -> dict[str, str]:
    """What else is said of a run, in the same words wherever it is shown."""
    results, spent = run.results, times(run)
    return {
        "steps": format.number(results.get("steps")),
        "epochs": format.number(results.get("epochs")),
        "time": format.seconds(results.get("seconds")),
        "rows per second": format.number(results.get("rows_per_second")),
        "bytes sent": format.size(results.get("bytes_sent")),
        "reading": format.seconds(spent.reading),
        "computing": format.seconds(spent.computing),
        "synchronising": format.seconds(spent.synchronising),
        "attempts": format.number(results.get("attempts")),
        "stopped by": str(results.get("stopped_by") or format.MISSING),
    }


def learner_label(config: Json) -> str:
    """The recipe, or the learner's class of a run without one."""
    return str(config.get("recipe") or type_name(config.get("learner", {})) or "?")


def strategy_label(config: Json) -> str:
    """The strategy as it is written in code, for example Averaging(sync_every=10), without what is off, or SOLVED."""
    name, fields = _strategy(config)
    return f"{name}({', '.join(f'{k}={v}' for k, v in fields.items())})" if fields else name


def short_strategy_label(config: Json) -> str:
    """The same in fewer letters, for example Averaging 10."""
    name, fields = _strategy(config)
    return " ".join([name, *map(str, fields.values())])


def _strategy(config: Json) -> tuple[str, dict[str, object]]:
    if config.get("solved"):
        return SOLVED, {}
    strategy = config.get("strategy", {})
    fields = {k: v for k, v in strategy.get("fields", {}).items() if v is not None and v is not False}
    return type_name(strategy) or "?", fields


def type_name(described: Json) -> str:
    """The class's name of a stored learner or strategy."""
    return str(described.get("type", "")).rpartition(":")[2].rpartition(".")[2]


def workers_label(config: Json) -> str:
    """For example "2 workers"."""
    workers = config.get("workers")
    return "? workers" if workers is None else f"{workers} worker" + ("" if workers == 1 else "s")
