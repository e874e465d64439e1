"""Linear support vector machines over the same rows, all of them at once.

For each class the weights w minimise  ½‖w‖² + C Σᵢ max(0, 1 − yᵢ w·xᵢ)²,  the problem of scikit-learn's LinearSVC
(liblinear's L2-regularised L2-loss SVC; the bias is the weight of a column of ones, and is regularised like the rest).

The objective is convex and piecewise quadratic, so Newton's method with an exact line search ends after few steps
(Mangasarian 2002; Keerthi and DeCoste 2005; Chapelle 2007). The classes differ by their signs alone, so every step is
made of products of the rows with a matrix that has a column for each class. A direction comes from conjugate gradients;
for a class with few rows inside the margin it is exact, by a Cholesky factor of their inner products. Fewer rows than
features are first turned into their own span, where all is small. A duality gap says how far the minimum is at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-2
MOST_STEPS = 100
_FORCING = 0.05
_MOST_PRODUCTS = 100
_SEARCH_STEPS = 40
_MOST_EXACT = 300
_TINY = 1e-30
_NUMBERS_A_THREAD = 1 << 26

OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class Solution:
    """What was found for K classes.

    weights: [features, K], of the type of the rows. objective: float64 [K]. gap: float64 [K], the part of each
    objective by which it may still be above the minimum. steps: of Newton's method.
    """

    weights: Tensor
    objective: Tensor
    gap: Tensor
    steps: int


def useful_threads(rows: Tensor, signs: Tensor, most: int) -> int:
    """How many threads to solve with: on a busy machine waiting for each other takes longer than a small problem."""
    return max(1, min(most, rows.numel() * signs.shape[1] // _NUMBERS_A_THREAD))


def solve(
    rows: Tensor,
    signs: Tensor,
    cost: float,
    *,
    tolerance: float = TOLERANCE,
    most_steps: int = MOST_STEPS,
    on_step: OnStep = lambda step, objective: None,
) -> Solution:
    """Solves the problem of each class. The same rows on the same number of threads give the same bits.

    Args:
        rows: float32 or float64 [n, features], finite; with a column of ones for a bias.
        signs: [n, K], 1 for rows of a class and -1 for others. cost: C, greater than 0.
        tolerance: largest gap to stop at. most_steps: of Newton's method, after which it stops in any case.
        on_step: called after each step with its number, from 1 on, and the sum of the objectives.
    """
    if len(rows) >= rows.shape[1]:
        return _Newton(rows, signs.to(rows.dtype), cost).run(tolerance, most_steps, on_step)
    wide = rows.double()
    # R of the QR decomposition of the transposed rows: the weights lie in the span of the rows (representer theorem).
    basis, turned = torch.linalg.qr(wide.T)
    found = _Newton(turned.T.contiguous(), signs.double(), cost).run(tolerance, most_steps, on_step)
    return Solution((basis @ found.weights).to(rows.dtype), found.objective, found.gap, found.steps)


@dataclass(frozen=True)
class _State:
    """Where all classes are. weights: [features, K]. scores: [n, K]. slack: [n, K], 0 outside of the margin.
    gradient: [features, K].
    """

    weights: Tensor
    scores: Tensor
    slack: Tensor
    gradient: Tensor
    objective: Tensor
    gap: Tensor


class _Newton:
    def __init__(self, rows: Tensor, signs: Tensor, cost: float) -> None:
        self._rows, self._signs, self._cost = rows, signs, cost

    def run(self, tolerance: float, most_steps: int, on_step: OnStep) -> Solution:
        (n, features), classes = self._rows.shape, self._signs.shape[1]
        state = self._state(self._rows.new_zeros(features, classes), self._rows.new_zeros(n, classes))
        step = 0
        while step < most_steps and (open_ := state.gap > tolerance).any():
            direction = self._direction(state, open_)
            moved = self._rows @ direction
            length = self._length(state, direction, moved)
            before = state
            state = self._state(before.weights + length * direction, before.scores + length * moved)
            step += 1
            on_step(step, float(state.objective.sum()))
            if not (state.objective < before.objective).any():
                break  # the precision of the numbers is reached
        return Solution(state.weights, state.objective, state.gap, step)

    def _state(self, weights: Tensor, scores: Tensor) -> _State:
        slack = (1 - self._signs * scores).clamp_min(0)
        # The weights for which the dual variables 2C·slack would stand, from which the gap comes.
        pulled = 2 * self._cost * (self._rows.T @ (self._signs * slack))
        dual = 2 * self._cost * slack.double()
        objective = 0.5 * weights.double().square().sum(0) + self._cost * slack.double().square().sum(0)
        linear, square = dual.sum(0), pulled.double().square().sum(0) + dual.square().sum(0) / (2 * self._cost)
        # The dual objective of the best multiple of these variables.
        bound = 0.5 * linear.square() / square.clamp_min(_TINY)
        gap = ((objective - bound) / objective.clamp_min(_TINY)).clamp_min(0)
        return _State(weights, scores, slack, weights - pulled, objective, gap)

    def _direction(self, state: _State, open_: Tensor) -> Tensor:
        """Newton's direction of the classes that are still open; 0 for the others."""
        inside = state.slack > 0
        few = open_ & (inside.sum(0) <= _MOST_EXACT)
        many = open_ & ~few
        direction = torch.zeros_like(state.weights)
        for k in few.nonzero()[:, 0].tolist():
            direction[:, k] = self._exact(inside[:, k].nonzero()[:, 0], k) - state.weights[:, k]
        if many.any():
            direction[:, many] = self._conjugate(state.gradient[:, many], inside[:, many].to(self._rows.dtype))
        return direction

    def _exact(self, inside: Tensor, k: int) -> Tensor:
        """The minimum of a class if exactly these rows are inside its margin."""
        rows = self._rows[inside].double()
        system = rows @ rows.T
        system.diagonal().add_(1 / (2 * self._cost))
        signs = self._signs[inside, k].double()[:, None]
        solved = torch.cholesky_solve(signs, torch.linalg.cholesky(system))
        return (rows.T @ solved)[:, 0].to(self._rows.dtype)

    def _conjugate(self, gradient: Tensor, inside: Tensor) -> Tensor:
        """-H⁻¹·gradient for H = I + 2C Xᵀ diag(inside) X, approximately, by conjugate gradients of each class."""
        solved, residual = torch.zeros_like(gradient), -gradient
        along, size = residual.clone(), residual.square().sum(0)
        goal = _FORCING**2 * size
        for _ in range(_MOST_PRODUCTS):
            curved = along + 2 * self._cost * (self._rows.T @ (inside * (self._rows @ along)))
            by = torch.where(size > goal, size / (along * curved).sum(0).clamp_min(_TINY), 0)
            solved += by * along
            residual -= by * curved
            left = residual.square().sum(0)
            if not (left > goal).any():
                break
            along = residual + left / size.clamp_min(_TINY) * along
            size = left
        return solved

    def _length(self, state: _State, direction: Tensor, moved: Tensor) -> Tensor:
        """How far each class goes, [K]: to the minimum along its direction, by Newton's method within brackets."""
        linear, square = (state.weights * direction).sum(0), direction.square().sum(0)
        low, high, at = torch.zeros_like(square), torch.full_like(square, torch.inf), torch.ones_like(square)
        for _ in range(_SEARCH_STEPS):
            slack = (1 - self._signs * (state.scores + at * moved)).clamp_min(0)
            slope = linear + at * square - 2 * self._cost * (slack * self._signs * moved).sum(0)
            curve = square + 2 * self._cost * ((slack > 0) * moved.square()).sum(0)
            low, high = torch.where(slope < 0, at, low), torch.where(slope > 0, at, high)
            newton = at - slope / curve.clamp_min(_TINY)
            between = torch.where(high.isinf(), 2 * at + 1, (low + high) / 2)
            there = torch.where((newton > low) & (newton < high), newton, between)
            at = torch.where((slope != 0) & (square > 0), there, at)
        return torch.where(square > 0, at, 0)
