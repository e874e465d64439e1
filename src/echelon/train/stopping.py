"""When a training ends: pure decisions on steps, seconds and metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace

from echelon.errors import EchelonError
from echelon.train.config import RunConfig, Target


@dataclass(frozen=True)
class Stopping:
    """What must be remembered between evaluations; stored with every checkpoint.

    best: best value of the monitored metric so far. stale: evaluations since then. reason: why to stop, or "".
    """

    best: float | None = None
    stale: int = 0
    reason: str = ""

    def after_evaluation(self, config: RunConfig, metrics: dict[str, float]) -> Stopping:
        """The state after an evaluation, with a reason if it says to stop."""
        if not metrics:
            return self
        state = self
        if config.patience is not None:
            state = self._watched(config.patience, config.monitor or next(iter(metrics)), metrics)
        if config.target is not None and Target.parse(config.target).reached(metrics):
            state = replace(state, reason=f"reached the target {config.target}")
        return state

    def _watched(self, patience: int, monitor: str, metrics: dict[str, float]) -> Stopping:
        if monitor not in metrics:
            raise EchelonError(f"--monitor {monitor} is not evaluated; there are: {', '.join(metrics)}")
        value = metrics[monitor]
        smaller_is_better = "loss" in monitor or "error" in monitor
        better = self.best is None or (value < self.best if smaller_is_better else value > self.best)
        if better:
            return replace(self, best=value, stale=0)
        stale = self.stale + 1
        reason = f"{monitor} was not better for {stale} evaluations" if stale >= patience else ""
        return replace(self, stale=stale, reason=reason)


def last_step(config: RunConfig, steps_per_epoch: int) -> int:
    """The global step after which training ends, if nothing ends it earlier."""
    steps = config.epochs * steps_per_epoch
    return min(steps, config.max_steps) if config.max_steps is not None else steps
