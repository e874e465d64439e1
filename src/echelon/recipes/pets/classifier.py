"""The linear classifier of breeds."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_LEAST_NORM = 1e-12


class LinearClassifier(nn.Module):
    """Features, float32 [n, features], to scores, float32 [n, outputs]; greater than 0 says yes.

    normalise: rows of features are scaled to the length 1, which needs nothing to be known of other rows. Then C means
    the same for the features of every network.
    """

    def __init__(self, features: int, outputs: int, normalise: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.linear = nn.Linear(features, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def scaled(self, features: Tensor) -> Tensor:
        """The rows as the linear part takes them."""
        return functional.normalize(features, dim=1, eps=_LEAST_NORM) if self.normalise else features

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.scaled(features))
