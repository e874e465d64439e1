"""What is chosen for a run apart from the learner and the strategy. Resolved once, at creation, and stored."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from echelon.data.plan import default_lanes
from echelon.errors import EchelonError
from echelon.train.every import Every


def option(default: Any, help: str) -> Any:
    """A field of a configuration whose help text becomes that of its command-line option."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one training."""

    epochs: int = option(1, "passes over the training rows")
    batch_size: int | None = option(None, "rows of a global step, over all workers (default 100)")
    batch_size_per_worker: int | None = option(None, "rows of a step per worker, instead of --batch-size")
    lanes: int | None = option(None, "slices of an epoch's order (default: a divisor of the batch in 32…64)")
    seed: int = option(0, "seed of the initial weights, the order and all random numbers")
    precision: str = option("fp32", "fp32, or bf16 for automatic mixed precision")
    microbatch: int | None = option(None, "most rows of one forward pass; gradients are accumulated")
    clip_norm: float | None = option(None, "largest norm of the gradient")
    eval_every: str = option("1epoch", "evaluate every so often: 1epoch, 50steps, 30s or off")
    eval_split: str | None = option(None, "split to evaluate on (default: val, else test, else none)")
    eval_batch_size: int = option(500, "rows of one forward pass in evaluation")
    checkpoint_every: str = option("60s", "write a checkpoint every so often: 60s, 100steps, 1epoch or off")
    keep_checkpoints: int = option(2, "checkpoints to keep, the newest ones")
    max_steps: int | None = option(None, "stop after so many global steps")
    max_seconds: float | None = option(None, "stop after so many seconds of training")
    target: str | None = option(None, "stop when a metric reaches a value, for example accuracy>=0.9 or loss<=0.1")
    patience: int | None = option(None, "stop after so many evaluations without a better --monitor")
    monitor: str | None = option(None, "metric for --patience (default: the first); of a loss or error less is better")
    cache_mb: int = option(1024, "a decoded split up to this size stays in the memory of each worker")
    memory_mb: int = option(2048, "most memory of a worker for row groups of a larger split")
    prefetch: int = option(8, "batches that are read ahead")
    readers: int = option(1, "threads of each worker that read; more help where the storage is far away")
    cpus_per_worker: int = option(1, "threads of each worker")
    log_every: str = option("5s", "report the training loss every so often")
    profile: int = option(0, "trace so many steps of rank 0 with torch's and Python's profilers")
    first_step_deadline: float = option(600.0, "most seconds of the first step, which may compile")
    step_deadline: float = option(60.0, "most seconds to wait for the other workers in a step")
    evaluation_deadline: float = option(600.0, "most seconds to wait for the other workers in an evaluation")

    def __post_init__(self) -> None:
        for name in ("epochs", "microbatch", "max_steps", "batch_size", "batch_size_per_worker", "lanes", "patience",
                     "eval_batch_size", "keep_checkpoints", "prefetch", "readers", "cpus_per_worker"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EchelonError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if self.precision not in ("fp32", "bf16"):
            raise EchelonError(f"--precision must be fp32 or bf16, got {self.precision!r}")
        if self.batch_size and self.batch_size_per_worker:
            raise EchelonError("give --batch-size (global) or --batch-size-per-worker, not both")
        for name in ("eval_every", "checkpoint_every", "log_every"):
            Every.parse(getattr(self, name))
        if self.target is not None:
            Target.parse(self.target)

    def resolved(self, workers: int) -> RunConfig:
        """The same with the global batch and the lanes fixed, for this number of workers at creation.

        Raises:
            EchelonError: there are more workers than lanes, or more lanes than rows in a batch.
        """
        batch = self.batch_size or (self.batch_size_per_worker or 0) * workers or 100
        lanes = self.lanes or default_lanes(batch)
        if lanes > batch:
            raise EchelonError(f"--lanes {lanes} needs a batch of at least as many rows, got {batch}")
        if workers > lanes:
            raise EchelonError(f"{workers} workers cannot share {lanes} lanes of a batch of {batch} rows: "
                               f"use at most {lanes} workers or a larger --batch-size")  # fmt: skip
        return replace(self, batch_size=batch, batch_size_per_worker=None, lanes=lanes)

    @property
    def resolved_batch_size(self) -> int:
        if self.batch_size is None:
            raise ValueError("the configuration was not resolved for a number of workers")
        return self.batch_size

    @property
    def resolved_lanes(self) -> int:
        if self.lanes is None:
            raise ValueError("the configuration was not resolved for a number of workers")
        return self.lanes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Target:
    """A value of a metric at which training may stop."""

    metric: str
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        match = re.fullmatch(r"\s*([\w.@/-]+?)\s*(>=|<=)\s*([-+.\deE]+)\s*", text)
        try:
            if match:
                return cls(match[1], match[2] == ">=", float(match[3]))
        except ValueError:
            pass
        raise EchelonError(f"'{text}' is no target: write for example accuracy>=0.9 or loss<=0.1")

    def reached(self, metrics: dict[str, float]) -> bool:
        """Whether the metrics of an evaluation meet it.

        Raises:
            EchelonError: the evaluation has no such metric.
        """
        if self.metric not in metrics:
            raise EchelonError(f"the target's metric '{self.metric}' is not evaluated; there are: {', '.join(metrics)}")
        value = metrics[self.metric]
        return value >= self.value if self.at_least else value <= self.value
