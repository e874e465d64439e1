"""Figures of classification against scikit-learn's, and what the trivial predictor reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from echelon.train.classification import LOSS, classification_metrics
from echelon.train.majority import majority_baseline
from echelon.train.metrics import compute_merged, states_to_bytes

CLASSES = 5
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")


def reference(true: np.ndarray, said: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(true, said),
        "balanced_accuracy": balanced_accuracy_score(true, said),
        "macro_f1": f1_score(true, said, average="macro", zero_division=0),
    }


def measured(true: np.ndarray, said: np.ndarray, parts: int) -> dict[str, float]:
    """As workers measure it: each a part of the rows, their states merged."""
    states = []
    for part in np.array_split(np.arange(len(true)), parts):
        metrics = classification_metrics(CLASSES)
        del metrics[LOSS]
        for metric in metrics.values():
            metric.update(torch.from_numpy(said[part]), torch.from_numpy(true[part]))
        states.append(states_to_bytes(metrics))
    metrics = classification_metrics(CLASSES)
    del metrics[LOSS]
    return compute_merged(metrics, states)


@pytest.mark.parametrize("present", [range(5), (0, 1, 3, 4), (2,)])
@pytest.mark.parametrize("seed", range(3))
def test_they_are_those_of_scikit_learn(present: range | tuple[int, ...], seed: int) -> None:
    """Also where a class has no rows, and one that has none is predicted."""
    random = np.random.default_rng(seed)
    true, said = random.choice(list(present), 200), random.integers(0, CLASSES, 200)
    with np.errstate(all="ignore"):
        assert measured(true, said, parts=3) == pytest.approx(reference(true, said), rel=1e-5)


@pytest.mark.parametrize(
    ("known", "there"),
    [([5, 70, 20, 0, 5], [3, 11, 4, 0, 9]), ([1, 2, 9, 1, 1], [4, 4, 0, 4, 1]), ([0, 0, 9, 0, 0], [0, 0, 4, 0, 0])],
)
def test_the_majority_reaches_what_is_measured_of_it(known: list[int], there: list[int]) -> None:
    true = np.repeat(np.arange(CLASSES), there)
    baseline = majority_baseline(known, there)
    expected = reference(true, np.full(len(true), np.argmax(known)))
    assert {name: baseline[name] for name in expected} == pytest.approx(expected)
    priors = np.tile(np.array(known) / sum(known), (len(true), 1))
    assert baseline["loss"] == pytest.approx(log_loss(true, priors, labels=np.arange(CLASSES)), abs=1e-9)


def test_a_class_that_training_never_had_has_no_finite_loss() -> None:
    assert "loss" not in majority_baseline([3, 0], [2, 1])
