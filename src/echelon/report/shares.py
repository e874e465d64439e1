"""The parts of a whole time."""

from __future__ import annotations

from dataclasses import dataclass

from echelon.report import format
from echelon.report.history import Times


@dataclass(frozen=True)
class Share:
    """A part of the whole time, as text and as a fraction of it."""

    name: str
    seconds: str
    percent: str
    fraction: float


def shares_of(spent: Times, total: float) -> list[Share]:
    """What one worker did in `total` seconds; nothing if that is not known."""
    parts = {
        "computing": spent.computing,
        "synchronising": spent.synchronising,
        "reading": spent.reading,
        "evaluating, writing and starting": spent.other(total),
    }
    whole = sum(parts.values())
    if not whole:
        return []
    return [Share(n, format.seconds(s), format.percent(s, whole), s / whole) for n, s in parts.items()]
