"""When a training ends: pure decisions on steps, seconds and metrics."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from echelon.errors import EchelonError
from echelon.train.config import RunConfig, Target


@dataclass(frozen=True)
class Stopping:
    """What must be remembered between evaluations; stored with every checkpoint.

    No decision is stored: a run that has ended may go on with another target or more patience.

    monitor: the metric that is watched, or "" before the first evaluation. best: its best value so far. stale:
    evaluations since then.
    """

    monitor: str = ""
    best: float | None = None
    stale: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Stopping:
        return cls(values.get("monitor", ""), values["best"], values["stale"])

    def after_evaluation(self, config: RunConfig, metrics: dict[str, float]) -> Stopping:
        """The state after an evaluation."""
        monitor = _monitor(config, metrics)
        if monitor not in metrics:
            return self
        value, best = metrics[monitor], self.best if monitor == self.monitor else None
        if best is None or math.isnan(best) or (value < best if smaller_is_better(monitor) else value > best):
            return Stopping(monitor, value)
        return replace(self, stale=self.stale + 1)

    def reason(self, config: RunConfig, metrics: dict[str, float]) -> str:
        """Why to stop, given the metrics of the newest evaluation, or ""."""
        if not metrics:
            return ""
        if config.target is not None and Target.parse(config.target).reached(metrics):
            return f"reached the target {config.target}"
        monitor = _monitor(config, metrics)
        if config.patience is not None and self.stale >= config.patience and monitor == self.monitor:
            return f"{monitor} was not better for {self.stale} evaluations"
        return ""


def smaller_is_better(metric: str) -> bool:
    """Of a loss, an error or bits less is better; a metric is one of these if its name says so."""
    return any(word in metric for word in ("loss", "error", "bits"))


def _monitor(config: RunConfig, metrics: Collection[str]) -> str:
    return config.monitor or next(iter(metrics), "")


def check_stopping(config: RunConfig, split: str | None, metrics: Collection[str]) -> None:
    """Refuses what could never stop a training, before its first step.

    Args:
        split: that is evaluated, if there is one. metrics: the names of what is evaluated.

    Raises:
        EchelonError: nothing is evaluated, or no such metric.
    """
    asked = [("--target", config.target), ("--patience", config.patience), ("--monitor", config.monitor)]
    for flag, value in asked:
        if value is not None and split is None:
            raise EchelonError(f"{flag} {value} needs rows to evaluate on, but there is no split val or test: "
                               "prepare one, or name another with --eval-split")  # fmt: skip
    names = [("--monitor", config.monitor), ("--target", config.target and Target.parse(config.target).metric)]
    for flag, name in names:
        if name is not None and name not in metrics:
            raise EchelonError(f"{flag}: '{name}' is not evaluated; there are: {', '.join(metrics)}")


def last_step(config: RunConfig, steps_per_epoch: int) -> int:
    """The global step after which training ends, if nothing ends it earlier."""
    steps = config.epochs * steps_per_epoch
    return min(steps, config.max_steps) if config.max_steps is not None else steps
