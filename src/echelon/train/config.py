"""What is chosen for a run apart from the learner and the strategy. Resolved once, at creation, and stored."""

from __future__ import annotations

import math
import re
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from echelon.data.plan import default_lanes
from echelon.device import AUTO, WANTED
from echelon.errors import EchelonError
from echelon.train.balance import Cadence
from echelon.train.every import Every
from echelon.train.faults import parse_faults
from echelon.train.precision import PRECISIONS

LARGEST_SEED = 2**63 - 1


def option(default: Any, help: str, *, least: int | None = None, metavar: str | None = None) -> Any:
    """A field of a configuration whose help text becomes that of its command-line option.

    least: of a whole number; a number that needs not be whole must be more than 0 and finite. metavar: what help shows
    in place of the type, where that says too little of what may be given.
    """
    return field(default=default, metadata={"help": help, "least": least, "metavar": metavar})


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one training."""

    epochs: int = option(1, "passes over the training rows", least=1)
    batch_size: int | None = option(None, "rows of a global step, over all workers (default 100)", least=1)
    batch_size_per_worker: int | None = option(None, "rows of a step per worker, instead of --batch-size", least=1)
    lanes: int | None = option(None, "slices of an epoch's order (default: a divisor of the batch in 32…64)", least=1)
    seed: int = option(0, "seed of the initial weights, the order and all random numbers", least=0)
    device: str = option(AUTO, "cpu, cuda, or auto for a GPU wherever there is one")
    precision: str = option("fp32", "fp32, or bf16 for the forward pass by automatic mixed precision")
    compile: bool = option(False, "compile the model for training (torch.compile); needs a C++ compiler")
    microbatch: int | None = option(None, "most rows of one forward pass; gradients are accumulated", least=1)
    clip_norm: float | None = option(None, "largest norm of the gradient")
    eval_every: str = option("1epoch", "evaluate every so often: 1epoch, 50steps, 30s or off")
    eval_split: str | None = option(None, "split to evaluate on (default: val, else test, else none)")
    eval_batch_size: int = option(500, "rows of one forward pass in evaluation", least=1)
    checkpoint_every: str = option("60s", "write a checkpoint every so often: 60s, 100steps, 1epoch or off")
    keep_checkpoints: int = option(2, "checkpoints to keep, the newest ones", least=1)
    max_steps: int | None = option(None, "stop after so many global steps", least=1)
    max_seconds: float | None = option(None, "stop after so many seconds of training")
    target: str | None = option(None, "stop when a metric reaches a value, for example accuracy>=0.9 or loss<=0.1")
    patience: int | None = option(None, "stop after so many evaluations without a better --monitor", least=1)
    monitor: str | None = option(None, "metric for --patience (default: the first); less loss, error or bits is better")
    cache_mb: int = option(1024, "a decoded split up to this size stays in the memory of each worker", least=0)
    memory_mb: int = option(2048, "most memory of a worker for row groups of a larger split", least=1)
    prefetch: int = option(8, "batches that are read ahead", least=1)
    bucket_steps: int = option(
        0,
        "sort by length what each lane gives in so many steps, for less padding; 0: off",
        least=0,
    )
    readers: int = option(1, "threads of each worker that read; more help where the storage is far away", least=1)
    cpus_per_worker: int = option(1, "threads of each worker", least=1)
    balance: str = option("off", "deal lanes again by measured speed: off, once, or as often as 1epoch or 50steps")
    fault: str | None = option(None, "rehearse kill:1@20, fail:1@20, hang:1@20 (rank@step), slow:2x1.8 (rank x factor)")
    log_every: str = option("5s", "report the training loss every so often")
    profile: int = option(0, "trace so many steps of rank 0 with torch's and Python's profilers", least=0)
    first_step_deadline: float = option(600.0, "most seconds of the first step; with --compile of any")
    step_deadline: float = option(60.0, "most seconds to wait for the other workers in a step")
    evaluation_deadline: float = option(600.0, "most seconds to wait for the other workers in an evaluation")

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_number(each, getattr(self, each.name))
        if self.seed > LARGEST_SEED:
            raise EchelonError(f"--seed must be at most {LARGEST_SEED}, got {self.seed}")
        for name, chosen, choices in (("device", self.device, WANTED), ("precision", self.precision, PRECISIONS)):
            if chosen not in choices:
                raise EchelonError(f"--{name} must be {', '.join(choices[:-1])} or {choices[-1]}, got {chosen!r}")
        if self.batch_size and self.batch_size_per_worker:
            raise EchelonError("give --batch-size (global) or --batch-size-per-worker, not both")
        every = {name: Every.parse(getattr(self, name)) for name in ("eval_every", "checkpoint_every", "log_every")}
        Cadence.parse(self.balance)
        parse_faults(self.fault)
        if self.target is not None:
            Target.parse(self.target)
        for flag, value in (("--target", self.target), ("--patience", self.patience)):
            if value is not None and not every["eval_every"].count:
                raise EchelonError(f"{flag} {value} needs evaluations, but --eval-every is {self.eval_every}")

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
    def later_step_deadline(self) -> float:
        """Seconds that others may be waited for in a step after the first one.

        A batch size or a length that comes for the first time is compiled again, on one worker while others wait.
        """
        return max(self.step_deadline, self.first_step_deadline) if self.compile else self.step_deadline

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


def _check_number(each: Field[Any], value: Any) -> None:
    """
    Raises:
        EchelonError: the value of a field that is a number is not one, or out of range.
    """
    flag, least = f"--{each.name.replace('_', '-')}", each.metadata["least"]
    if each.type == "bool":
        if not isinstance(value, bool):
            raise EchelonError(f"{flag} must be true or false, got {value!r}")
        return
    if (isinstance(value, str) and "str" in str(each.type)) or (value is None and "None" in str(each.type)):
        return
    if least is not None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise EchelonError(f"{flag} must be a whole number of at least {least}, got {value!r}")
    elif "float" not in str(each.type):
        raise EchelonError(f"{flag} must be a text, got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise EchelonError(f"{flag} must be a number greater than 0, got {value!r}")


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
