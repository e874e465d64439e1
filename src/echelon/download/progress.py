"""A download as a bar in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from echelon.download.transfer import OnProgress, Progress


@contextmanager
def shown(console: Console | None = None, *, passing: bool = False) -> Iterator[OnProgress]:
    """What shows each file as a bar with its size, speed and remaining time, while the block lasts.

    console: default the standard error. passing: whether a bar goes when the next file begins, as there are many.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console or Console(stderr=True)) as bars:

        def show(progress: Progress) -> None:
            if progress.name not in tasks:
                if passing:
                    for task in tasks.values():
                        bars.remove_task(task)
                    tasks.clear()
                tasks[progress.name] = bars.add_task(progress.name)
            bars.update(tasks[progress.name], completed=progress.done, total=progress.total)

        yield show
