"""The solver of support vector machines, beside scikit-learn's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from made_features import made_features
from sklearn.svm import LinearSVC
from torch import Tensor

from echelon.recipes.pets.svm import solve

BREEDS = 5


def problem(images: int, features: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of length 1 with a column for the bias, and signs."""
    values, labels = made_features(images, BREEDS, features, noise=noise, seed=seed)
    rows = torch.nn.functional.normalize(torch.from_numpy(values), dim=1)
    signs = (torch.from_numpy(labels)[:, None] == torch.arange(BREEDS)).float() * 2 - 1
    return torch.cat([rows, torch.ones(images, 1)], 1), signs


def objective(rows: Tensor, signs: Tensor, weights: Tensor, cost: float) -> Tensor:
    wide, solution = rows.double(), weights.double()
    slack = (1 - signs.double() * (wide @ solution)).clamp_min(0)
    return 0.5 * solution.square().sum(0) + cost * slack.square().sum(0)


def of_sklearn(rows: Tensor, signs: Tensor, cost: float) -> Tensor:
    """Its weights with the bias last, [features, classes]; the column of ones is its own."""
    found = []
    for sign in signs.T.numpy():
        model = LinearSVC(C=cost, tol=1e-10, max_iter=100_000, dual=len(rows) < rows.shape[1])
        model.fit(rows[:, :-1].double().numpy(), sign)
        found.append(np.append(model.coef_[0], model.intercept_))
    return torch.from_numpy(np.stack(found, 1))


@pytest.mark.parametrize(
    ("images", "features", "noise", "cost"),
    [(60, 200, 1.0, 1.0), (60, 200, 3.0, 100.0), (500, 30, 1.0, 1.0), (900, 30, 3.0, 100.0), (900, 30, 3.0, 0.01)],
    ids=["wide", "wide and hard", "long", "long, hard, many inside the margin", "long and much regularised"],
)
def test_the_minimum_is_that_of_scikit_learn(images: int, features: int, noise: float, cost: float) -> None:
    rows, signs = problem(images, features, noise)
    found = solve(rows, signs, cost, tolerance=1e-6)
    theirs = of_sklearn(rows, signs, cost)
    assert found.gap.max() <= 1e-5
    best = objective(rows, signs, theirs, cost)
    torch.testing.assert_close(objective(rows, signs, found.weights, cost), best, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(found.objective, best, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close((rows @ found.weights).double(), rows.double() @ theirs, rtol=0, atol=5e-3)


@pytest.mark.parametrize(("images", "features"), [(80, 200), (900, 40)])
def test_an_early_end_is_no_further_from_the_minimum_than_its_gap_says(images: int, features: int) -> None:
    rows, signs = problem(images, features, noise=3.0)
    best = objective(rows, signs, of_sklearn(rows, signs, 10.0), 10.0)
    for steps in range(8):
        found = solve(rows, signs, 10.0, tolerance=0.0, most_steps=steps)
        assert found.steps <= steps
        assert (best >= (1 - found.gap) * found.objective * (1 - 1e-5)).all()
        assert (best <= found.objective * (1 + 1e-5)).all()


def test_the_same_rows_give_the_same_bits_and_steps_never_go_up() -> None:
    rows, signs = problem(700, 60, noise=3.0)
    told: list[float] = []
    first = solve(rows, signs, 10.0, tolerance=1e-5, on_step=lambda step, value: told.append(value))
    assert torch.equal(first.weights, solve(rows, signs, 10.0, tolerance=1e-5).weights)
    assert len(told) == first.steps > 2
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(told))


def test_a_class_comes_out_the_same_alone_and_among_others() -> None:
    rows, signs = problem(600, 50, noise=2.0)
    together = solve(rows, signs, 1.0, tolerance=1e-6)
    for k in range(BREEDS):
        alone = solve(rows, signs[:, k : k + 1], 1.0, tolerance=1e-6)
        torch.testing.assert_close(alone.weights[:, 0], together.weights[:, k], rtol=0, atol=2e-3)


def test_rows_that_are_all_equal_and_of_one_sign_end_too() -> None:
    rows, signs = torch.ones(30, 4), torch.cat([torch.ones(30, 1), -torch.ones(30, 1)], 1)
    found = solve(rows, signs, 5.0, tolerance=1e-6)
    torch.testing.assert_close(found.weights[:, 0], -found.weights[:, 1])
    # Of one row v with n copies the weights are v·2Cn/(1 + 2Cn‖v‖²).
    torch.testing.assert_close(found.weights[:, 0], torch.full((4,), 300 / (1 + 4 * 300)), rtol=1e-4, atol=0)
