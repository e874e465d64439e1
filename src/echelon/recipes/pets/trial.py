"""Trainings on some images that are tested on others, all of them in memory: for curves, and to choose C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echelon.errors import EchelonError
from echelon.recipes.pets.cost import COSTS
from echelon.recipes.pets.division import drawn
from echelon.recipes.pets.problem import Problem
from echelon.recipes.pets.svm import solve, useful_threads
from echelon.train.classification import ACCURACY, BALANCED_ACCURACY
from echelon.world import threads

FOLDS = 5


@dataclass(frozen=True)
class Images:
    """What is trained and tested on.

    rows: float32 [n, features], with the column for the bias. labels: int64 [n]. keys: n strings.
    """

    rows: Tensor
    labels: NDArray[np.int64]
    keys: Sequence[str]


def tried(
    images: Images, problem: Problem, train: NDArray[np.bool_], test: NDArray[np.bool_], cost: float
) -> dict[str, float]:
    """Accuracy and balanced accuracy on some images of a training on others. train, test: which ones, bool [n]."""
    labels = torch.from_numpy(images.labels)
    on, of = torch.from_numpy(train), torch.from_numpy(test)
    rows, signs = images.rows[on], problem.signs(labels[on])
    with threads(useful_threads(rows, signs, torch.get_num_threads())):
        weights = solve(rows, signs, cost).weights
    said, true = problem.said(images.rows[of] @ weights), problem.targets(labels[of])
    answers = len(problem.answers)
    confusion = torch.bincount(true * answers + said, minlength=answers**2).view(answers, answers).double()
    counted = confusion.sum(1)
    return {
        ACCURACY: float(confusion.diagonal().sum() / counted.sum()),
        BALANCED_ACCURACY: float((confusion.diagonal()[counted > 0] / counted[counted > 0]).mean()),
    }


def crossed_cost(images: Images, problem: Problem, train: NDArray[np.bool_], seed: int) -> float:
    """The C of `COSTS` with the best mean balanced accuracy in a stratified cross-validation within the images that are
    trained on; of equals the smallest, which regularises most. No other image has a part in it.

    Args:
        train: which images are trained on, bool [n]. seed: of the folds.

    Raises:
        EchelonError: there is a breed with only one image.
    """
    at = np.flatnonzero(train)
    labels = images.labels[at]
    folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    if folds < 2:
        raise EchelonError("--cost auto needs at least 2 training images of each breed: give a number, such as 1")
    fold = np.full(len(train), -1)
    fold[at] = drawn(labels, [images.keys[row] for row in at.tolist()], seed) % folds
    means = [
        np.mean([tried(images, problem, train & (fold != k), fold == k, cost)[BALANCED_ACCURACY] for k in range(folds)])
        for cost in COSTS
    ]
    return COSTS[int(np.argmax(means))]
