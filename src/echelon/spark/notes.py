"""What is to be told of the preparing of a dataset apart from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

PROBLEMS_KEPT = 20


@dataclass(frozen=True)
class Problem:
    """Something that could not become a row and is left out. item: its name. reason: why."""

    item: str
    reason: str

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


Origin = tuple[int, int]
"""The number of an item, and that of a row of it."""


@dataclass
class Notes:
    """Problems and counts, of an item, a data file or all of them.

    problems: how many. first: those of the first origins, each with its own. counts: of whatever is worth counting.
    """

    problems: int = 0
    first: list[tuple[Origin, Problem]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem, origin: Origin) -> None:
        self.problems += 1
        self.first.append((origin, problem))
        if len(self.first) >= 2 * PROBLEMS_KEPT:
            self.first = self.reported

    def merge(self, other: Notes) -> None:
        """Adds what others noted, which stand behind these where the origins are the same."""
        self.problems += other.problems
        self.counts.update(other.counts)
        self.first += other.first
        self.first = self.reported

    @property
    def reported(self) -> list[tuple[Origin, Problem]]:
        """The first problems, in the order of the items."""
        return sorted(self.first, key=lambda one: one[0])[:PROBLEMS_KEPT]

    def to_json(self) -> list[Any]:
        return [self.problems, [[*origin, p.item, p.reason] for origin, p in self.reported], self.counts]

    @classmethod
    def from_json(cls, said: list[Any]) -> Notes:
        problems, first, counts = said
        known = [((item, row), Problem(name, reason)) for item, row, name, reason in first]
        return cls(problems, known, Counter(counts))

    @classmethod
    def merged(cls, notes: Iterable[Notes]) -> Notes:
        whole = cls()
        for one in notes:
            whole.merge(one)
        return whole
