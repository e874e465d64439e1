"""Archives and unlabelled images through prepare, by a real Spark."""

import numpy as np
import pytest
import torch

from echelon.data.batch import Batch
from echelon.data.span import span_batches
from echelon.errors import DataError
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.made import (
    made_images,
    to_datum,
    to_png,
    write_database,
    write_imagenet,
    write_tar,
)
from echelon.recipes.images.options import ImagesOptions, PrepareOptions
from echelon.recipes.images.prepare import prepare
from echelon.recipes.images.settings import learner_for
from echelon.train.config import RunConfig

SIZE = (8, 6)
CLASSES = ["n01443537 goldfish, Carassius auratus", "n02056570 king penguin", "n02099601 golden retriever"]
TRAIN, VAL = made_images(30, 3, SIZE, seed=1), made_images(21, 3, SIZE, seed=2)


def test_archives_become_a_dataset_that_says_what_was_left_out_and_converted(spark, tmp_path):
    """Trap: an undecodable image that stops or loops the job."""
    write_imagenet(tmp_path / "raw", TRAIN, VAL, CLASSES)
    good = [(f"{i}.png", to_png(TRAIN[0][3 * i])) for i in range(9)] + [("9.png", to_png(TRAIN[0][27][:1]))]
    write_tar(tmp_path / "raw" / "train" / "n01443537.tar", [*good, ("last.png", good[0][1][:50])])
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(size="6x8"))
    info = dataset.info
    assert info["classes"] == CLASSES
    assert info["counts"] == {split: dict.fromkeys(CLASSES, count) for split, count in (("train", 10), ("val", 7))}
    assert (info["converted"], info["unlabelled"], info["problems"]["count"]) == (1, 0, 1)
    assert info["problems"]["first"][0][0] == "train/n01443537.tar/last.png"
    images = TRAIN[0].copy()
    images[27] = np.repeat(images[27][:1], 3, axis=0)
    np.testing.assert_allclose(dataset.asset("mean"), images.mean(axis=0, dtype=np.float64), atol=1e-4)


def test_unlabelled_images_can_be_predicted_and_not_measured(spark, tmp_path):
    write_tar(tmp_path / "photos.tar", [(f"{i}.png", to_png(image)) for i, image in enumerate(TRAIN[0])])
    learner = ImagesLearner(classes=CLASSES, size=list(SIZE), total_steps=1, model_name="resnet", width=8)
    source, url = str(tmp_path / "photos.tar"), str(tmp_path / "dataset")
    dataset = prepare(spark, source, url, PrepareOptions(), fitting=learner)
    learner.check(dataset)
    assert dataset.info["unlabelled"] == dataset.rows("test") == 30
    assert set(dataset.info["counts"]["test"].values()) == {0}
    batch = next(span_batches(dataset, "test", None, 0, 30, 30))
    model = learner.model().eval()
    assert set(learner.predict(model, batch)["label"]) <= set(CLASSES)
    with pytest.raises(DataError, match="30 of 30 images have no label"):
        learner.update(learner.metrics(), model, batch)
    with pytest.raises(DataError, match="30 of 30 images have no label"):
        learner.baseline(dataset, "test")
    labelled = Batch({**batch.columns, "label": torch.zeros(30, dtype=torch.int64)}, {}, batch.rows)
    learner.update(metrics := learner.metrics(), model, labelled)
    assert 0 <= float(metrics["accuracy"].compute()) <= 1


def test_what_is_evaluated_has_the_order_of_channels_of_what_was_trained_on(spark, tmp_path):
    """An LMDB of Caffe does not say whether its pixels are RGB or BGR."""
    images, labels = TRAIN
    records = [(b"%03d" % row, to_datum(image, int(labels[row]))) for row, image in enumerate(images)]
    write_database(tmp_path / "raw", records)
    options = PrepareOptions(size="6x8", raw_channels="rgb", test_fraction=0)
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options)
    learner = learner_for(dataset, ImagesOptions(model="resnet", width=8), RunConfig(batch_size=10))
    again = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "again"), PrepareOptions(), fitting=learner)
    found = [
        {key: image.numpy() for batch in span_batches(each, split, None, 0, 30, 30)
         for key, image in zip(batch.strings("key"), batch["image"], strict=True)}
        for each, split in ((dataset, "train"), (again, "test"))
    ]  # fmt: skip
    for row, image in enumerate(images):
        for each in found:
            np.testing.assert_array_equal(each[f"{row:03d}"], image[::-1])
