"""A learner whose model has layers within layers, for the features of the points of `scores`."""

from __future__ import annotations

from dataclasses import dataclass

from scores import Scores
from torch import Tensor, nn


class Deep(nn.Module):
    """Points [n, 3] to one number [n, 1]; `outer.middle` gives [n, 4, 2], `outer.pair` a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.outer = nn.ModuleDict(
            {"middle": nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Unflatten(1, (4, 2))), "pair": Pair()}
        )
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.outer["pair"](self.outer["middle"](x))
        return self.head((first + second).flatten(1))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@dataclass
class DeepScores(Scores):
    def model(self) -> nn.Module:
        return Deep()
