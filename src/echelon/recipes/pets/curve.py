"""The learning curve: how well breeds are told apart by the number of images of each that are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from echelon.errors import DataError
from echelon.recipes.pets.division import drawn, held_out
from echelon.recipes.pets.measures import baseline_of
from echelon.recipes.pets.problem import Problem
from echelon.recipes.pets.trial import Images, crossed_cost, tried

USUAL = tuple(range(20, 181, 20))
"""Training images of each breed, as far as there are so many."""
_FEW_SIZES = 6


@dataclass(frozen=True)
class Point:
    """What came of one training.

    size: images of each breed to train on. seed: of the division. metrics, baseline: on all test images of that seed.
    """

    size: int
    seed: int
    metrics: dict[str, float]
    baseline: dict[str, float]


def sizes_within(most: int, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """The sizes of a curve; by default 20 to 180 as far as there are so many images, and fewer where there are few.

    Args:
        most: training images of the breed with the fewest.

    Raises:
        DataError: a wanted size is below 1, or more than there are.
    """
    if wrong := [size for size in wanted if not 1 <= size <= most]:
        raise DataError(f"--sizes must be from 1 to {most}, the training images of the rarest breed, got {wrong[0]}")
    if wanted:
        return tuple(sorted(set(wanted)))
    usual = [size for size in USUAL if size <= most]
    if len(usual) > 1:
        return tuple(usual)
    return tuple(sorted({math.ceil(most * part / _FEW_SIZES) for part in range(1, _FEW_SIZES + 1)}))


def least_trained(images: Images, problem: Problem, test_fraction: float) -> int:
    """Training images of the rarest breed that a problem is about.

    Raises:
        DataError: there are none, or none to test on.
    """
    test = held_out(images.labels, drawn(images.labels, images.keys, 0), test_fraction)
    kept = problem.concerns(torch.from_numpy(images.labels)).numpy()
    if not (test & kept).any():
        raise DataError(f"there are no images to test on at --test-fraction {test_fraction}: raise it")
    counts = np.bincount(images.labels[kept & ~test], minlength=len(problem.classes))
    least = int(counts[np.unique(images.labels[kept])].min())
    if not least:
        raise DataError("a breed has no image that is left to train on: lower --test-fraction, or prepare more images")
    return least


def learning_curve(
    images: Images,
    problem: Problem,
    sizes: Sequence[int],
    seeds: Sequence[int],
    *,
    test_fraction: float,
    cost: float | None,
    on_point: Callable[[], None] = lambda: None,
) -> Iterator[Point]:
    """A point for each seed and size. Of a seed all sizes are tested on the same images, and a smaller size trains on
    some of the images of a larger one. cost: C; None to find it anew for each point, see `crossed_cost`.

    Raises:
        EchelonError: C is to be found, and a breed has only one image.
    """
    kept = problem.concerns(torch.from_numpy(images.labels)).numpy()
    for seed in seeds:
        places = drawn(images.labels, images.keys, seed)
        test = held_out(images.labels, places, test_fraction)
        first = np.bincount(images.labels, weights=test, minlength=len(problem.classes))[images.labels]
        for size in sizes:
            yield _point(images, problem, kept & ~test & (places < first + size), kept & test, size, seed, cost)
            on_point()


def _point(
    images: Images,
    problem: Problem,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    size: int,
    seed: int,
    cost: float | None,
) -> Point:
    metrics = tried(images, problem, train, test, cost or crossed_cost(images, problem, train, seed))
    known, there = (
        problem.counts(np.bincount(images.labels[mask], minlength=len(problem.classes)).tolist())
        for mask in (train, test)
    )
    trivial = baseline_of(known, there, problem.breed is not None)
    return Point(size, seed, metrics, {name: trivial[name] for name in metrics})
