"""How far the tasks of Spark have come that prepare data: a bar on a terminal, now and then a line anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from echelon.spark.background import Tasks
from echelon.spark.watching import OnProgress, watched

_LINE_SECONDS = 30.0


@contextmanager
def preparing(console: Console) -> Iterator[None]:
    """Shows on a console what Spark does in the block."""
    if not console.is_terminal:
        with watched(_lines(console)):
            yield
        return
    columns = TextColumn("prepare"), BarColumn(), MofNCompleteColumn(), TextColumn("tasks"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("prepare", total=None)

        def show(tasks: Tasks) -> None:
            bars.update(bar, completed=tasks.done, total=tasks.planned or None)

        with watched(show):
            yield


def _lines(console: Console) -> OnProgress:
    """What writes a line from time to time, not of what is over before the first is due."""
    start = told = time.monotonic()

    def show(tasks: Tasks) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _LINE_SECONDS:
            told = now
            console.print(f"prepare: {tasks.done:,} of {tasks.planned:,} tasks after {now - start:,.0f} s")

    return show
