"""The recipe from a dataset to predictions."""

from dataclasses import replace

import pytest
from made_dataset import CLASSES, small_dataset

from echelon.api import Run, fit
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.images import RECIPE
from echelon.recipes.images.options import ImagesOptions, PrepareOptions
from echelon.sync.allreduce import AllReduce
from echelon.sync.averaging import Averaging
from echelon.sync.protocol import Strategy
from echelon.train.config import RunConfig


def trained(
    dataset: Dataset, folder, options: ImagesOptions, workers: int = 1, strategy: Strategy | None = None, **given
):
    defaults = {name: value for name, value in RECIPE.defaults(options).items() if name != "sync_every"}
    config = RunConfig(**{**defaults, **given}).resolved(workers)
    learner = RECIPE.learner(dataset, options, config)
    return fit(learner, dataset, config, strategy=strategy, workers=workers, run=folder, recipe="images")


# What tells the made classes apart is where they are bright.
PLAIN = ImagesOptions(mirror=False, pad=0)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Run:
    return trained(dataset, tmp_path_factory.mktemp("runs") / "quick", PLAIN, epochs=6, batch_size=10)


def test_a_few_epochs_tell_made_classes_apart_from_the_baseline(run):
    """Trap: the trivial baseline is not told."""
    assert run.metrics["accuracy"] >= 0.8
    assert run.results["baseline"]["accuracy"] == pytest.approx(1 / 7)
    assert set(run.metrics) == {"accuracy", "top5", "loss"}


def test_the_residual_network_learns_them_too(dataset, tmp_path):
    options = replace(PLAIN, model="resnet", width=8)
    assert trained(dataset, tmp_path / "run", options, epochs=12, batch_size=10).metrics["accuracy"] >= 0.8


def test_the_loaded_model_takes_stored_images_without_the_dataset(run, dataset):
    model = run.model()
    batch = next(span_batches(dataset, "test", ["image", "label"], 0, 35, 35))
    right = (model(batch["image"]).argmax(1) == batch["label"]).float().mean().item()
    assert right == pytest.approx(run.metrics["accuracy"])


def test_all_of_the_test_set_is_evaluated_and_predicted_once(run, dataset, tmp_path):
    """Trap: a test on a fraction of the test set."""
    evaluated = run.evaluate(dataset)
    assert (evaluated.split, evaluated.rows) == ("test", 35)
    assert evaluated.metrics["accuracy"] == pytest.approx(run.metrics["accuracy"])
    predicted = run.predict(dataset, tmp_path / "predictions", split="test")
    batch = next(span_batches(predicted, "test", None, 0, 35, 35))
    assert sorted(batch.strings("key")) == sorted(f"test/{row}" for row in range(35))
    assert set(batch.strings("label")) <= set(CLASSES)


def test_labels_that_mean_other_classes_are_not_evaluated(run, tmp_path):
    other = small_dataset(tmp_path / "other", {"test": 14}, classes=[*CLASSES[1:], CLASSES[0]])
    for use in (run.evaluate, lambda dataset: run.predict(dataset, tmp_path / "out")):
        with pytest.raises(DataError, match="the model was trained on ant, bee"):
            use(other)


def test_a_run_that_goes_on_stretches_its_schedule(run, dataset):
    config = RunConfig(epochs=9, batch_size=10).resolved(1)
    assert RECIPE.resumed(run.learner, dataset, config).total_steps == 63


def test_the_demo_reads_what_it_writes(tmp_path):
    assert RECIPE.demo is not None
    said = RECIPE.demo.write(tmp_path / "raw")
    assert said.startswith(f"{len(list((tmp_path / 'raw').rglob('*.png'))):,} handwritten digits")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("model", ["quick", "resnet"])
@pytest.mark.parametrize("strategy", [AllReduce(), Averaging(10)], ids=["allreduce", "averaging"])
def test_two_workers_reach_the_accuracy_that_is_promised_on_cifar(spark, shared_data, tmp_path, model, strategy):
    source = shared_data / "cifar10" / "cifar-10-batches-bin"
    dataset = RECIPE.prepare(
        spark, str(source), str(tmp_path / "dataset"), PrepareOptions(), fitting=None, overwrite=False
    )
    finished = trained(
        dataset, tmp_path / "run", ImagesOptions(model=model), 2, strategy, target="accuracy>=0.55", max_seconds=600.0
    )
    assert finished.metrics["accuracy"] >= 0.55
