"""The cost of loss, C of scikit-learn's LinearSVC, as users give it: a number, or left to a cross-validation."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from echelon.errors import EchelonError
from echelon.train.config import option

AUTO = "auto"
COSTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""C that are tried. Of rows of length 1, less tells nothing apart and more changes little."""


def cost_option() -> Any:
    """The field of a configuration that `fixed_cost` reads."""
    return option(
        "1",
        "C of scikit-learn's LinearSVC: what loss costs beside the norm of the weights; 1/(rows x regParam) of Spark; "
        "auto: the best of some by cross-validation within the training images",
        metavar=f"<number|{AUTO}>",
    )


def fixed_cost(cost: str) -> float | None:
    """C if it was given as a number, None if it is to be found.

    Raises:
        EchelonError: it is neither.
    """
    if cost == AUTO:
        return None
    with suppress(ValueError):
        if 0 < (number := float(cost)) < math.inf:
            return number
    raise EchelonError(f"--cost must be a number greater than 0 or {AUTO}, got {cost}")
