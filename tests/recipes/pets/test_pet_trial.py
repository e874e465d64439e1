"""The choice of C within the images that are trained on, for one training and for each point of a curve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_features import dataset_of, made_features, names_of
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.svm import LinearSVC

from echelon.errors import EchelonError
from echelon.recipes.pets.cost import COSTS
from echelon.recipes.pets.curve import learning_curve
from echelon.recipes.pets.curve_command import CurveOptions
from echelon.recipes.pets.division import drawn, held_out
from echelon.recipes.pets.held import with_bias
from echelon.recipes.pets.problem import Problem
from echelon.recipes.pets.settings import TrainOptions, learner_for
from echelon.recipes.pets.trial import Images, crossed_cost, tried
from echelon.train.config import RunConfig

BREEDS = 3


def images_of(features, labels):
    rows = torch.nn.functional.normalize(torch.from_numpy(features), dim=1)
    return Images(with_bias(rows), labels, [str(row) for row in range(len(labels))])


@pytest.fixture(scope="module")
def made():
    """Few rows of many noisy features, so that C matters."""
    return made_features(240, BREEDS, 60, noise=4.0)


def test_the_chosen_c_is_nearly_the_best_that_scikit_learn_finds_on_the_same_images(made) -> None:
    features, labels = made
    train = np.arange(len(labels)) < 150
    chosen = crossed_cost(images_of(features, labels), Problem(tuple(names_of(BREEDS))), train, 0)
    unit = features[train] / np.linalg.norm(features[train], axis=1, keepdims=True)
    theirs = {
        cost: balanced_accuracy_score(labels[train], cross_val_predict(LinearSVC(C=cost), unit, labels[train], cv=5))
        for cost in COSTS
    }
    assert theirs[chosen] >= max(theirs.values()) - 0.04
    assert max(theirs.values()) - min(theirs.values()) > 0.04


def test_images_to_test_on_have_no_part_in_the_choice(made) -> None:
    features, labels = made
    problem, train = Problem(tuple(names_of(BREEDS))), np.arange(len(labels)) % 3 > 0
    other, wrong = features.copy(), labels.copy()
    other[~train] = 1000 * np.eye(BREEDS, 60, dtype=np.float32)[labels[~train]]
    wrong[~train] = 0
    for seed in range(3):
        first = crossed_cost(images_of(features, labels), problem, train, seed)
        assert first == crossed_cost(images_of(other, labels), problem, train, seed)
        assert first == crossed_cost(images_of(features, wrong), problem, train, seed)


def test_a_trial_measures_the_images_that_it_is_tested_on(made) -> None:
    features, labels = made
    train = np.arange(len(labels)) < 150
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    said = LinearSVC(C=1.0, tol=1e-8, max_iter=100_000).fit(unit[train], labels[train]).predict(unit[~train])
    found = tried(images_of(features, labels), Problem(tuple(names_of(BREEDS))), train, ~train, 1.0)
    assert found["accuracy"] == pytest.approx((said == labels[~train]).mean(), abs=0.03)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels[~train], said), abs=0.03)


def test_auto_is_what_the_learner_keeps_and_other_words_are_refused(made, tmp_path) -> None:
    dataset = dataset_of(tmp_path / "dataset", *made, BREEDS)
    config = RunConfig().resolved(1)
    assert learner_for(dataset, TrainOptions(cost="auto"), config).cost in COSTS
    assert learner_for(dataset, TrainOptions(cost="0.25"), config).cost == 0.25
    for wrong in ("best", "0", "-1", "nan", "inf"):
        with pytest.raises(EchelonError, match=f"--cost must be .*got {wrong}"):
            TrainOptions(cost=wrong)
    few = dataset_of(tmp_path / "few", *made_features(6, BREEDS, 8), BREEDS)
    with pytest.raises(EchelonError, match="at least 2 training images"):
        learner_for(few, TrainOptions(cost="auto"), config)


def test_a_curve_finds_c_anew_for_each_point_within_what_it_trains_on(made) -> None:
    images, problem, fraction = images_of(*made), Problem(tuple(names_of(BREEDS))), 0.3
    sizes, seeds = (4, 40), (0, 1)
    points = list(learning_curve(images, problem, sizes, seeds, test_fraction=fraction, cost=None))
    at_each: set[float] = set()
    for point in points:
        places = drawn(images.labels, images.keys, point.seed)
        test = held_out(images.labels, places, fraction)
        train = ~test & (places < np.bincount(images.labels[test])[images.labels] + point.size)
        cost = crossed_cost(images, problem, train, point.seed)
        assert point.metrics == tried(images, problem, train, test, cost)
        at_each.add(cost)
    assert [(point.seed, point.size) for point in points] == [(seed, size) for seed in seeds for size in sizes]
    assert len(at_each) > 1, "one C is the best at every point, so that nothing is shown"


def test_a_curve_takes_the_same_costs_as_a_training() -> None:
    assert CurveOptions(cost="auto").cost == TrainOptions(cost="auto").cost
    with pytest.raises(EchelonError, match=r"--cost must be .*got best"):
        CurveOptions(cost="best")
