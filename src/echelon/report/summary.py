"""What a run is called, and by which figure it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echelon.report.history import History, Times

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """The metric that a run is judged by, beside what the trivial predictor reaches."""

    metric: str
    value: float
    baseline: float | None
    split: str

    @property
    def better(self) -> bool | None:
        """Whether the run beats the trivial predictor; None if that is not known."""
        if self.baseline is None:
            return None
        return self.value < self.baseline if smaller_is_better(self.metric) else self.value > self.baseline


def smaller_is_better(metric: str) -> bool:
    """As for stopping: of a loss or an error less is better."""
    return "loss" in metric or "error" in metric


def main_metric(metrics: Json, baseline: Json, monitor: str | None = None) -> str | None:
    """The monitored metric; else the first with a trivial baseline; else the first that is no loss; else the first."""
    if monitor in metrics:
        return monitor
    candidates = [n for n in metrics if n in baseline] or [n for n in metrics if not smaller_is_better(n)] or [*metrics]
    return candidates[0] if candidates else None


def final_metrics(results: Json, history: History) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics and trivial baselines of the end; of a run without results, those of its newest evaluation."""
    metrics, baseline = results.get("metrics"), results.get("baseline")
    if not metrics:
        curves = history.metrics.get(history.split, {})
        metrics = {name: curve.last for name, curve in curves.items()}
    return dict(metrics), dict(baseline or history.baselines.get(history.split, {}))


def headline(config: Json, results: Json, history: History) -> Headline | None:
    """What to say first about a run; None if it was never evaluated."""
    metrics, baseline = final_metrics(results, history)
    name = main_metric(metrics, baseline, config.get("config", {}).get("monitor"))
    if name is None:
        return None
    return Headline(name, float(metrics[name]), baseline.get(name), str(results.get("split") or history.split))


def times(results: Json, history: History) -> Times:
    """Where the time went, by the results where there are any."""
    parts = {part: results.get(f"seconds_{part}") for part in ("reading", "computing", "synchronising")}
    if any(value is None for value in parts.values()):
        return history.times
    return Times(**{part: float(value) for part, value in parts.items() if value is not None})


def learner_label(config: Json) -> str:
    """The recipe, or the learner's class of a run without one."""
    return str(config.get("recipe") or type_name(config.get("learner", {})) or "?")


def strategy_label(config: Json) -> str:
    """The strategy as it is written in code, for example Averaging(sync_every=10)."""
    strategy = config.get("strategy", {})
    fields = ", ".join(f"{k}={v}" for k, v in strategy.get("fields", {}).items() if v is not None)
    return f"{type_name(strategy) or '?'}({fields})" if fields else type_name(strategy) or "?"


def type_name(described: Json) -> str:
    """The class's name of a stored learner or strategy."""
    return str(described.get("type", "")).rpartition(":")[2].rpartition(".")[2]


def workers_label(config: Json) -> str:
    """For example "2 workers"."""
    workers = config.get("workers")
    return "? workers" if workers is None else f"{workers} worker" + ("" if workers == 1 else "s")


def state(results: Json) -> str:
    """finished, failed or running; "not started" for a run without results."""
    return str(results.get("state") or "not started")
