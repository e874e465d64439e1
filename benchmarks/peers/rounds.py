"""Trainings of both sides in turn, each of few epochs and of more, and a check that they are alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from beside import Side
from measured import console, in_turn
from rich.table import Table
from task import SIZES, Arrays, Task, accuracy, load, made

FIT_SECONDS = 600.0
HELD_BACK = 5_000
STEPS_APART = 0.02
"""Part by which the numbers of steps may differ: Spark does not divide rows evenly to the last one."""


@dataclass(frozen=True)
class Way:
    """One way of a side to train. chosen: what its `fit` gets beside the task."""

    name: str
    side: Side
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """One call of `fit`.

    seconds: from the call to its end. first_step, last_step: from the call to when the slower worker began that step;
    cpu_between: of all workers from the one to the other; None where it cannot be seen. cpu: seconds of all processes.
    facts: what was really trained.
    """

    epochs: int
    seconds: float
    first_step: float | None
    last_step: float | None
    cpu_between: float | None
    cpu: float
    accuracy: float
    facts: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A short and a long training in one round; what they do not share is the steady state of the epochs between."""

    short: Fit
    long: Fit


@dataclass(frozen=True)
class Rows:
    """The made rows. path: of a folder of Parquet files; the same arrays are in <path>.npz."""

    path: str
    task: Task
    features: Any
    labels: Any

    @classmethod
    def written(cls, folder: Path, task: Task) -> Rows:
        features, labels = made(task.rows)
        path = folder / "rows"
        path.mkdir()
        flat = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
        pq.write_table(
            pa.table({"features": flat.cast(pa.list_(pa.float32())), "label": labels}), path / "part.parquet"
        )
        np.savez(f"{path}.npz", features=features, labels=labels)
        return cls(str(path), task, *made(HELD_BACK, seed=1))


def train(way: Way, rows: Rows, epochs: int) -> Fit:
    """One call of a side, with the accuracy of what it trained."""
    before = way.side.cpu_seconds()
    asked = rows.task.to_json()
    answer = way.side.ask("fit", FIT_SECONDS, data=rows.path, epochs=epochs, asked=asked, **way.chosen)
    cpu = way.side.cpu_seconds() - before
    arrays = load(answer["weights"])
    facts = {"model": model_of(arrays), **answer["facts"]}
    correct = accuracy(arrays, rows.features, rows.labels)
    noted = (answer.get(name) for name in ("first_step", "last_step", "cpu_between"))
    return Fit(epochs, answer["seconds"], *noted, cpu, correct, facts)


def model_of(arrays: Arrays) -> str:
    return f"{'-'.join(str(a.shape[0]) for a in arrays[::2])}-{arrays[-1].shape[0]} {arrays[0].dtype}"


def pairs(ways: Sequence[Way], rows: Rows, epochs: tuple[int, int], rounds: int) -> dict[str, list[Pair]]:
    """What each way gave in each round, by name, after one training of each that is not counted."""

    def both(way: Way) -> Pair:
        return Pair(*(train(way, rows, number) for number in epochs))

    for way in ways:
        train(way, rows, epochs[0])
    found = in_turn([partial(both, way) for way in ways], rounds)
    return {way.name: [each[number] for each in found] for number, way in enumerate(ways)}


def check_alike(found: dict[str, list[Pair]], task: Task) -> None:
    """Prints what each way trained.

    Raises:
        ValueError: they are not alike, so that to compare them says nothing.
    """
    wanted = {
        "model": f"{'-'.join(map(str, SIZES))} float32",
        "rows of an epoch": task.rows,
        "steps of an epoch": task.steps,
        "workers": task.workers,
        "threads of a worker": task.threads,
    }
    title = f"What each side trained, as it was found there ({task.batch} rows a step and worker, SGD {task.rate:g})"
    table = Table("", *wanted, title=title, title_justify="left", title_style="bold")
    for name, each in found.items():
        facts = each[-1].long.facts
        table.add_row(name, *(f"{facts[key]:g}" if key != "model" else facts[key] for key in wanted))
        for key, value in wanted.items():
            apart = key == "steps of an epoch" and abs(facts[key] / value - 1) <= STEPS_APART
            if facts[key] != value and not apart:
                raise ValueError(f"{name} is not alike: {key} is {facts[key]}, not {value}")
    console().print(table)


def epochs_between(found: Sequence[Pair]) -> list[float] | None:
    """Rows per second of the epochs that the long training has more, in each round.

    None where some long training was no slower than its short one: what else the machine did then outweighs the epochs,
    and nothing is known of them.
    """
    seconds = [pair.long.seconds - pair.short.seconds for pair in found]
    if min(seconds) <= 0:
        return None
    rows = [pair.long.facts["rows of an epoch"] * (pair.long.epochs - pair.short.epochs) for pair in found]
    return [number / passed for number, passed in zip(rows, seconds, strict=True)]


def first_step(fit: Fit) -> float:
    """Seconds from the call to the slower worker's first step."""
    return _seen(fit.first_step)


def steady_rate(fit: Fit, *, by_cpu: bool = False) -> float:
    """Rows per second from the first step to the last one, both of the slower worker; or of the workers' CPU time."""
    steps = fit.facts["steps of an epoch"] * fit.epochs
    seconds = _seen(fit.cpu_between) if by_cpu else _seen(fit.last_step) - _seen(fit.first_step)
    return fit.facts["rows of an epoch"] * fit.epochs * (1 - 1 / steps) / seconds


def _seen(value: float | None) -> float:
    if value is None:
        raise ValueError("a side did not say when it began its first and its last step")
    return value


def times(peer: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as much the peer has, by the median of the rounds."""
    return statistics.median(theirs / mine for theirs, mine in zip(peer, ours, strict=True))


def middle(values: Sequence[float], unit: str = " s") -> str:
    """The median and the range, for people."""
    form = ",.0f" if max(values) >= 100 else ".1f" if max(values) >= 10 else ".2f"
    low, high = (format(value, form) for value in (min(values), max(values)))
    return f"{format(statistics.median(values), form)}{unit} ({low}–{high})"
