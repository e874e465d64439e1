"""What all benchmarks share: sides measured in turn, and tables of what was found beside its limit.

A benchmark ends with `sys.exit(told(title, outcomes))`: 0 if all limits are held, 1 if one is missed, and 4 if nothing
is missed but something could not be measured, which is never counted as held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")

HELD, MISSED, NOT_MEASURED = 0, 1, 4
WORDS = {HELD: "[green]ok[/green]", MISSED: "[red]MISSED[/red]", NOT_MEASURED: "[yellow]not measured[/yellow]"}
WIDTH = 150
"""Columns of a table that does not go to a terminal."""


@dataclass(frozen=True)
class Outcome:
    """One line of a table.

    found: None if it could not be measured. limit: None for what is only told. at_least: whether more is better.
    unit: behind both numbers. rest: both sides' own figures, or why nothing was measured.
    """

    what: str
    found: float | None
    limit: float | None = None
    at_least: bool = True
    unit: str = ""
    rest: str = ""

    @property
    def code(self) -> int | None:
        """HELD, MISSED or NOT_MEASURED; None where there is no limit."""
        if self.limit is None:
            return None
        if self.found is None:
            return NOT_MEASURED
        held = self.found >= self.limit if self.at_least else self.found <= self.limit
        return HELD if held else MISSED

    def cells(self) -> tuple[str, str, str, str, str]:
        bound = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"
        found = "" if self.found is None else f"{self.found:.3g}{self.unit}"
        return self.what, found, bound, "" if self.code is None else WORDS[self.code], self.rest


def in_turn(sides: Sequence[Callable[[], T]], rounds: int) -> list[tuple[T, ...]]:
    """What each side gave in each round; every other round begins with the last side, so that what else the machine
    does meets all.
    """
    found = []
    for number in range(rounds):
        order = range(len(sides)) if number % 2 == 0 else range(len(sides) - 1, -1, -1)
        given = {side: sides[side]() for side in order}
        found.append(tuple(given[side] for side in range(len(sides))))
    return found


def told(title: str, outcomes: Sequence[Outcome]) -> int:
    """Prints a table; the exit status of the benchmark."""
    table = Table("", "found", "limit", "", "", title=title, title_justify="left", title_style="bold")
    for column in table.columns[1:3]:
        column.justify, column.no_wrap = "right", True
    for outcome in outcomes:
        table.add_row(*outcome.cells())
    console().print(table)
    codes = {outcome.code for outcome in outcomes}
    return next((code for code in (MISSED, NOT_MEASURED) if code in codes), HELD)


def console() -> Console:
    """Standard output; wide where it is no terminal, whose width is not known."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)
