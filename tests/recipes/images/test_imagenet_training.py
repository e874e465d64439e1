"""Training on real photographs of ImageNet, small and of full size."""

from pathlib import Path

import numpy as np
import pytest

from echelon.api import fit
from echelon.data.manifest import Dataset
from echelon.recipes.images import RECIPE
from echelon.recipes.images.options import ImagesOptions, PrepareOptions
from echelon.train.config import RunConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def prepared(spark, source: Path, folder: Path, size: str) -> Dataset:
    return RECIPE.prepare(spark, str(source), str(folder), PrepareOptions(size=size), fitting=None, overwrite=False)


def trained(dataset: Dataset, folder: Path, options: ImagesOptions, workers: int, **given):
    defaults = {name: value for name, value in RECIPE.defaults(options).items() if name != "sync_every"}
    config = RunConfig(**{**defaults, **given}).resolved(workers)
    return fit(RECIPE.learner(dataset, options, config), dataset, config, workers=workers, run=folder, recipe="images")


def test_ten_synsets_are_told_apart_by_two_workers(spark, shared_data, tmp_path):
    dataset = prepared(spark, shared_data / "imagenet", tmp_path / "dataset", "64x64")
    assert {split: dataset.rows(split) for split in dataset.splits} == {"train": 3000, "val": 250}
    run = trained(dataset, tmp_path / "run", ImagesOptions(model="resnet", crop=56), 2, epochs=5)
    assert run.results["baseline"]["accuracy"] < 0.15
    assert run.metrics["accuracy"] >= run.results["baseline"]["accuracy"] + 0.25


@pytest.fixture(scope="module")
def photos(spark, shared_data, tmp_path_factory) -> Dataset:
    """90 photographs, each of a class of its own of the 1,000."""
    folder = tmp_path_factory.mktemp("photos") / "dataset"
    return prepared(spark, shared_data / "imagenet" / "fullsize_sample.tar", folder, "256x256")


@pytest.mark.parametrize(("model", "side", "losses"), [("caffenet", 227, 1.0), ("googlenet", 224, 1.6)])
def test_twenty_steps_on_full_size_photographs_lower_the_loss(photos, tmp_path, model, side, losses):
    """It begins with the logarithm of 1,000 classes, times 1.6 with the heads, and learns which 90 there are."""
    options = ImagesOptions(model=model)
    run = trained(photos, tmp_path / "run", options, 1, epochs=7, batch_size=30, max_steps=20, log_every="1steps")
    assert run.learner.crop == side
    seen = [event["loss"] for event in run.events() if event["kind"] == "train"]
    assert len(seen) == 20
    assert seen[0] == pytest.approx(losses * np.log(1000), rel=0.01)
    assert np.mean(seen[-3:]) < losses * (np.log(90) + 0.5)
