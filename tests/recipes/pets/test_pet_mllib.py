"""The classifiers beside those of Spark's MLlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from made_features import made_features

from echelon.recipes.pets.held import with_bias
from echelon.recipes.pets.svm import solve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BREEDS, COST = 4, 1.0


@pytest.mark.slow
def test_one_against_all_is_as_good_as_with_mllib_and_mostly_the_same(spark: SparkSession) -> None:
    from pyspark.ml.classification import LinearSVC
    from pyspark.ml.linalg import Vectors

    features, labels = made_features(700, BREEDS, 60, noise=2.5)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    mine = labels == 1
    train, test = slice(0, 500), slice(500, 700)

    def frame(at: slice):
        rows = zip(mine[at].astype(float).tolist(), map(Vectors.dense, features[at].tolist()), strict=True)
        made = [(row, *each) for row, each in enumerate(rows)]
        return spark.createDataFrame(made, ["row", "label", "features"]).coalesce(1).cache()

    model = LinearSVC(maxIter=30, regParam=1 / (COST * 500), standardization=False).fit(frame(train))
    answers = model.transform(frame(test)).select("row", "prediction").collect()
    theirs = np.array([line.prediction for line in sorted(answers)]) > 0

    signs = torch.from_numpy(mine)[:, None].float() * 2 - 1
    rows = with_bias(torch.from_numpy(features))
    ours = ((rows[test] @ solve(rows[train], signs[train], COST).weights)[:, 0] > 0).numpy()
    # Their hinge loss is not squared and their bias is free, so some rows near the border differ.
    assert (ours == theirs).mean() > 0.85
    assert (ours == mine[test]).mean() >= (theirs == mine[test]).mean() - 0.03
    assert (ours == mine[test]).mean() > 0.75
