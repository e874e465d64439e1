"""Metrics, trivial predictors and intervals, beside scikit-learn's and scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from echelon.recipes.pets.measures import baseline_of, mean_interval, metrics_of, ranked, wilson
from echelon.train.metrics import compute_merged, states_to_bytes


def values(scores: Tensor, said: Tensor, targets: Tensor, binary: bool) -> dict[str, float]:
    """Measured in three parts, each by metrics of its own, and merged."""
    answers = 2 if binary else scores.shape[1]
    parts = []
    for at in np.array_split(np.arange(len(targets)), [len(targets) // 5, len(targets) // 2]):
        metrics = metrics_of(answers, binary)
        for name, metric in metrics.items():
            if name == "loss":
                metric.update(torch.ones(len(at)))
            elif name == "auc":
                metric.update(ranked(scores)[at, 0] if binary else ranked(scores)[at], targets[at])
            else:
                metric.update(said[at], targets[at])
        parts.append(states_to_bytes(metrics))
    return compute_merged(metrics_of(answers, binary), parts)


@pytest.mark.parametrize("scale", [0.01, 1.0, 200.0])
def test_one_breed_is_measured_as_scikit_learn_does(scale: float) -> None:
    random = np.random.default_rng(3)
    targets = (random.uniform(size=500) < 0.1).astype(int)
    scores = scale * (random.normal(size=500) + 1.2 * targets - 0.8).astype(np.float32)
    said = (scores > 0).astype(int)
    found = values(torch.from_numpy(scores)[:, None], torch.from_numpy(said), torch.from_numpy(targets), binary=True)
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, said))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, said))
    assert found["f1"] == pytest.approx(f1_score(targets, said))
    assert found["auc"] == pytest.approx(roc_auc_score(targets, scores), abs=1e-6)


def test_all_breeds_are_measured_as_scikit_learn_does_and_one_that_is_missing_counts_nothing() -> None:
    random = np.random.default_rng(4)
    targets = random.integers(0, 4, 400)
    scores = (random.normal(size=(400, 5)) * 3 + 2 * np.eye(5)[targets]).astype(np.float32)
    said = scores.argmax(1)
    found = values(torch.from_numpy(scores), torch.from_numpy(said), torch.from_numpy(targets), binary=False)
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, said))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, said))
    each = [roc_auc_score(targets == breed, scores[:, breed]) for breed in range(4)]
    assert found["auc"] == pytest.approx(np.mean(each), abs=1e-6)


def test_always_no_is_told_and_reaches_what_it_does_over_37_breeds() -> None:
    trivial = baseline_of([36 * 140, 140], [36 * 60, 60], binary=True)
    never = np.zeros(37 * 60, int)
    targets = np.append(np.zeros(36 * 60, int), np.ones(60, int))
    assert trivial["accuracy"] == pytest.approx(accuracy_score(targets, never)) == pytest.approx(36 / 37)
    assert trivial["balanced_accuracy"] == balanced_accuracy_score(targets, never) == 0.5
    assert trivial["f1"] == f1_score(targets, never) == 0
    assert trivial["auc"] == roc_auc_score(targets, never) == 0.5
    every = baseline_of([10, 30, 20], [5, 7, 8], binary=False)
    said = np.ones(20, int)
    true = np.repeat([0, 1, 2], [5, 7, 8])
    assert every["accuracy"] == pytest.approx(accuracy_score(true, said))
    assert every["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, said))
    assert every["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))


@pytest.mark.parametrize(("right", "rows"), [(0, 3), (3, 3), (57, 60), (1, 2000)])
def test_intervals_are_those_of_wilson(right: int, rows: int) -> None:
    limits = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    assert wilson(right, rows) == pytest.approx((limits.low, limits.high), abs=1e-12)
    assert mean_interval([right], [rows]) == pytest.approx((limits.low, limits.high), abs=1e-12)


def test_without_rows_nothing_is_known() -> None:
    assert wilson(0, 0) == (0, 1)
    assert mean_interval([0, 0], [0, 0]) == (0, 1)
    assert mean_interval([4, 0], [5, 0]) == wilson(4, 5)


def test_the_interval_of_balanced_accuracy_holds_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    parts, rows = np.array([0.95, 0.6, 0.8]), [20, 35, 60]
    held = 0
    for _ in range(2000):
        low, high = mean_interval(random.binomial(rows, parts).tolist(), rows)
        held += low <= parts.mean() <= high
    assert 0.935 < held / 2000 < 0.975
