"""A training as it goes on: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from echelon.report import format
from echelon.report.summary import Figure, main_figure
from echelon.train.events import LATE

Event = Mapping[str, Any]
_LOG = logging.getLogger(__name__)
MOST_WORKERS = 8
"""Workers of which a line tells."""
_STYLES = {
    "start": "dim", "checkpoint": "dim", "sample": "dim", "balance": "dim", "evaluate": "bold", "remark": "yellow",
    "recovery": "yellow", "stop": "green",
}  # fmt: skip


@dataclass(frozen=True)
class Sight:
    """What is known of a training at a moment.

    total: steps at its end, None before that is known. loss: None before a report. metric: of the newest evaluation.
    begun: step and seconds at which this attempt began, for the time that is left.
    """

    attempt: int = 0
    step: int = 0
    seconds: float = 0.0
    total: int | None = None
    loss: float | None = None
    rows_per_second: float | None = None
    metric: Figure | None = None
    begun: tuple[int, float] = (0, 0.0)

    def after(self, event: Event) -> Sight:
        """What is known after an event of the training."""
        kind = event["kind"]
        if kind in LATE:
            return self
        now = replace(self, step=int(event["step"]), seconds=float(event["seconds"]))
        if kind == "start":
            return replace(now, attempt=event["attempt"], begun=(now.step, now.seconds))
        if kind == "train":
            # A solver does not know how many steps it will take.
            speed, total = event["rows_per_second"], event["last_step"] or None
            return replace(now, loss=event["loss"], rows_per_second=speed, total=total)
        if kind == "evaluate":
            return replace(now, metric=main_figure(event["metrics"], event["baseline"]))
        return now

    @property
    def seconds_left(self) -> float | None:
        """Until the last step at the mean speed of this attempt; it may stop earlier for another reason."""
        steps, seconds = self.step - self.begun[0], self.seconds - self.begun[1]
        if self.total is None or steps <= 0 or seconds <= 0:
            return None
        return (self.total - self.step) * seconds / steps

    @property
    def place(self) -> str:
        """For example "step 120 of 400"."""
        return f"step {self.step:,}" + (f" of {self.total:,}" if self.total else "")

    @property
    def figures(self) -> str:
        """Speed, loss, metric and time left, as far as they are known."""
        parts = []
        if self.rows_per_second is not None:
            parts.append(f"{format.number(self.rows_per_second)} rows/s")
        if self.loss is not None:
            parts.append(f"loss {format.metric(self.loss)}")
        if self.metric is not None:
            parts.append(f"{self.metric.metric} {format.metric(self.metric.value)}")
        if self.seconds_left:
            parts.append(f"{format.seconds(self.seconds_left)} left")
        return " · ".join(parts)


def line_of(event: Event, sight: Sight) -> str | None:
    """What one line says of an event; None of one that deserves no line.

    Args:
        sight: what is known after the event.
    """
    match event["kind"]:
        case "start":
            again = f"attempt {event['attempt']}: " if event["attempt"] > 1 else ""
            remark = f"; {event['remark']}" if event.get("remark") else ""
            return f"{again}{_workers(event['workers'])} on {event['device']} at step {event['step']:,}{remark}"
        case "train":
            return f"{sight.place}: {sight.figures}"
        case "evaluate":
            metrics = ", ".join(f"{name} {format.metric(value)}" for name, value in event["metrics"].items())
            return f"step {event['step']:,}: {metrics} on {event['split']}"
        case "checkpoint":
            size, took = format.size(event["bytes"]), format.seconds(event["took"])
            return f"step {event['step']:,}: checkpoint of {size} in {took}"
        case "sample":
            return f"step {event['step']:,}: a sample in {format.seconds(event['took'])}"
        case "remark":
            return f"step {event['step']:,}: {event['text']}"
        case "balance":
            return _balance_line(event)
        case "recovery":
            return f"attempt {event['attempt']} failed: {event['cause']}; going on from step {event['step']:,}"
        case "stop":
            return f"{event['reason']}: {event['step']:,} steps, {format.seconds(event['seconds'])}"
    return None


class LiveProgress:
    """Shows the events that it is called with: `with LiveProgress() as progress: fit(…, on_event=progress)`.

    Evaluations, recoveries and the like stay as lines above the bar. Nothing is shown before the first event. It never
    raises: a display that fails is turned off and logged. May be called from any thread.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._sight = Sight()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._off = False
        self._lock = threading.Lock()

    def __enter__(self) -> LiveProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Shows an event of the training."""
        with self._lock:
            if self._off:
                return
            try:
                self._show(event)
            except (Exception, SystemExit):  # rich ends the process when nobody reads the console any more
                _LOG.warning("the progress display failed and is turned off; the training goes on", exc_info=True)
                self._turn_off()

    def close(self) -> None:
        """Takes the bar away; what comes later is not shown."""
        with self._lock:
            self._turn_off()

    def _turn_off(self) -> None:
        self._off = True
        if self._bar is not None:
            with suppress(Exception, SystemExit):
                self._bar.stop()

    def _show(self, event: Event) -> None:
        self._sight = self._sight.after(event)
        live = self._console.is_interactive
        line = line_of(event, self._sight)
        if line and not (live and event["kind"] in ("train", "checkpoint", "sample")):
            # soft_wrap: a line in a log stays one line, however wide its console is taken to be.
            warns = event["kind"] == "balance" and event["remark"]
            style = "yellow" if warns else _STYLES.get(event["kind"], "")
            self._console.print(Text(line, style), soft_wrap=not live)
        if live:
            self._move()

    def _move(self) -> None:
        if self._bar is None:
            self._bar = _new_bar(self._console)
            self._task = self._bar.add_task("", total=None, place="", figures="")
            self._bar.start()
        sight = self._sight
        self._bar.update(
            self._task, completed=sight.step, total=sight.total, place=sight.place, figures=sight.figures, refresh=True
        )


def _new_bar(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[place]}", markup=False),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8, max_width=40)),
        TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    return Progress(*columns, console=console, transient=True, expand=True)


def _balance_line(event: Event) -> str | None:
    """What a measurement of the workers found; None if all stays as it is and nothing is wrong."""
    dealt, remark = event["next_lanes"] != event["lanes"], event["remark"]
    if not (dealt or remark):
        return None
    paces = _of_workers([format.seconds(seconds) for seconds in event["seconds_per_step"]])
    line = f"step {event['step']:,}: workers take {paces} a step"
    if dealt:
        line += f"; lanes {_of_workers(event['next_lanes'])} from step {event['from_step']:,} on"
    return f"{line}; {remark}" if remark else line


def _of_workers(values: Sequence[object]) -> str:
    """What each worker has, of the first ones where there are many."""
    shown = " : ".join(map(str, values[:MOST_WORKERS]))
    return shown + (f" : … ({len(values)} workers)" if len(values) > MOST_WORKERS else "")


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"
