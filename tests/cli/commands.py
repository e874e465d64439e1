"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CLASSES = ["cat", "dog", "eel"]


@dataclass(frozen=True)
class Done:
    """What a command did: its exit status, and what it wrote to the standard output and error."""

    code: int
    out: str
    err: str


Echelon = Callable[..., Done]
