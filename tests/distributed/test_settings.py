"""What is refused before a training, and what a stored decision must not stand in the way of."""

from __future__ import annotations

from typing import Any

import pytest

from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.stopping import Stopping, check_stopping

NUMBERS = {
    "epochs": (0, 1.5, "3", None), "batch_size": (0,), "batch_size_per_worker": (-1,), "lanes": (0,),
    "seed": (-1, 2**63), "microbatch": (0,), "clip_norm": (0, -1.0, float("nan")), "eval_batch_size": (0,),
    "keep_checkpoints": (0,), "max_steps": (0,), "max_seconds": (-5, 0), "patience": (0, True), "cache_mb": (-1,),
    "memory_mb": (0,), "prefetch": (0,), "readers": (0,), "cpus_per_worker": (0,), "profile": (-1,),
    "first_step_deadline": (0,), "step_deadline": (-1, float("inf")), "evaluation_deadline": (0, None),
}  # fmt: skip
TEXTS = {
    "precision": ("fp16",), "device": ("gpu", None), "compile": ("yes", 1), "eval_every": ("often", 5),
    "checkpoint_every": ("1hour",), "log_every": (None,), "target": ("accuracy",), "monitor": (3,), "eval_split": (1,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in {**NUMBERS, **TEXTS}.items() for value in values]
)
def test_what_makes_no_sense_is_refused_with_its_flag_and_value(name: str, value: Any) -> None:
    with pytest.raises(EchelonError) as refused:
        RunConfig(**{name: value})
    assert str(value) in str(refused.value)
    if name not in ("eval_every", "checkpoint_every", "target"):
        assert f"--{name.replace('_', '-')} must be" in str(refused.value)


@pytest.mark.parametrize("asked", [{"target": "accuracy>=1"}, {"patience": 3}])
def test_what_stops_by_evaluations_needs_some(asked: dict[str, Any]) -> None:
    with pytest.raises(EchelonError, match=f"--{next(iter(asked))} .* needs evaluations, but --eval-every is off"):
        RunConfig(eval_every="off", **asked)
    with pytest.raises(EchelonError, match="there is no split val or test"):
        check_stopping(RunConfig(**asked), None, ["accuracy"])
    check_stopping(RunConfig(**asked), "test", ["accuracy"])
    check_stopping(RunConfig(eval_every="off"), None, ["accuracy"])


def after(values: list[float], config: RunConfig, name: str = "accuracy") -> Stopping:
    state = Stopping()
    for value in values:
        state = state.after_evaluation(config, {name: value})
    return state


def test_patience_counts_evaluations_without_a_better_value() -> None:
    config = RunConfig(patience=2)
    assert after([0.1, 0.2, 0.2], config).reason(config, {"accuracy": 0.2}) == ""
    assert "not better for 2" in after([0.1, 0.2, 0.2, 0.1], config).reason(config, {"accuracy": 0.1})
    assert after([3, 2, 1], config, "loss").stale == 0, "of a loss less is better"
    assert after([float("nan"), 0.1, 0.2], config).stale == 0, "everything is better than no number"


def test_more_patience_or_another_metric_goes_on() -> None:
    state, metrics = after([0.3, 0.2, 0.1], RunConfig(patience=2)), {"accuracy": 0.1, "f1": 0.5}
    state = Stopping.from_json({"monitor": state.monitor, "best": state.best, "stale": state.stale})
    assert state.reason(RunConfig(patience=2), metrics)
    assert not state.reason(RunConfig(patience=3), metrics)
    assert not state.reason(RunConfig(), metrics)
    other = RunConfig(patience=2, monitor="f1")
    assert not state.reason(other, metrics)
    assert state.after_evaluation(other, metrics) == Stopping("f1", 0.5, 0)
