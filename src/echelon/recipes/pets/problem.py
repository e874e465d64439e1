"""Which breed is told from which: one from another, one from all, or each from all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echelon.errors import EchelonError

EVERY = "all"
OTHERS = "others"


@dataclass(frozen=True)
class Problem:
    """What a classifier tells apart.

    classes: all breeds in the order of the labels. breed: None to tell each breed from all others. against: another
    breed, or "all".
    """

    classes: tuple[str, ...]
    breed: str | None = None
    against: str = EVERY

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise EchelonError(f"there must be two breeds at least, got {', '.join(self.classes) or 'none'}")
        if self.breed is None and self.against != EVERY:
            raise EchelonError(f"--against {self.against} needs --breed: which one shall be told from it?")
        for flag, name in (("--breed", self.breed), ("--against", None if self.against == EVERY else self.against)):
            if name is not None and name not in self.classes:
                raise EchelonError(f"{flag} {name}: there is no such breed; there are: {', '.join(self.classes)}")
        if self.breed == self.against:
            raise EchelonError(f"--breed and --against are both {self.breed}: give another breed, or all")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The breed of each score that a classifier gives: all of them, or the one that is told from the rest."""
        return self.classes if self.breed is None else (self.breed,)

    @property
    def answers(self) -> tuple[str, ...]:
        """What a classifier may say, in the order of `targets`."""
        if self.breed is None:
            return self.classes
        return (OTHERS if self.against == EVERY else self.against), self.breed

    @property
    def title(self) -> str:
        """The problem in words."""
        if self.breed is None:
            return f"each of {len(self.classes)} breeds"
        return f"{self.breed} against {'all others' if self.against == EVERY else self.against}"

    def concerns(self, labels: Tensor) -> Tensor:
        """Which rows are of a breed that the problem is about: bool [n]."""
        if self.breed is None or self.against == EVERY:
            return labels >= 0
        return (labels == self.classes.index(self.breed)) | (labels == self.classes.index(self.against))

    def targets(self, labels: Tensor) -> Tensor:
        """The true answer of each row, int64 [n]: its place in `answers`. labels: int64 [n], of rows it concerns."""
        return labels if self.breed is None else (labels == self.classes.index(self.breed)).long()

    def signs(self, labels: Tensor) -> Tensor:
        """1 for the rows of the breed of a score and -1 for others: float32 [n, outputs]."""
        breeds = torch.tensor([self.classes.index(name) for name in self.outputs], device=labels.device)
        return (labels[:, None] == breeds).float() * 2 - 1

    def said(self, scores: Tensor) -> Tensor:
        """What a classifier says, int64 [n], by its scores, [n, outputs]: the greatest, or whether the only one is
        positive.
        """
        return scores.argmax(1) if self.breed is None else (scores[:, 0] > 0).long()

    def counts(self, of_breeds: Sequence[int]) -> list[int]:
        """How many rows there are of each answer, given how many there are of each breed."""
        if self.breed is None:
            return list(of_breeds)
        positive = of_breeds[self.classes.index(self.breed)]
        if self.against != EVERY:
            return [of_breeds[self.classes.index(self.against)], positive]
        return [sum(of_breeds) - positive, positive]
