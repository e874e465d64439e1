"""The choice of C within the images that are trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_features import dataset_of, made_features, names_of
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.svm import LinearSVC

from echelon.errors import EchelonError
from echelon.recipes.pets.held import with_bias
from echelon.recipes.pets.problem import Problem
from echelon.recipes.pets.settings import TrainOptions, learner_for
from echelon.recipes.pets.trial import COSTS, Images, crossed_cost, tried
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
