"""Raw files to datasets, by a real Spark."""

import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_dataset import CLASSES

from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.errors import DataError, EchelonError
from echelon.recipes.images import RECIPE, folders
from echelon.recipes.images.learner import ImagesLearner
from echelon.recipes.images.made import (
    made_images,
    to_png,
    write_cifar_binary,
    write_cifar_python,
    write_class_folders,
    write_digits,
)
from echelon.recipes.images.options import PrepareOptions
from echelon.recipes.images.prepare import prepare
from echelon.recipes.images.sources import find_source

SMALL = PrepareOptions(size="8x6")


def content(dataset: Dataset, split: str) -> dict[str, tuple[int, bytes]]:
    """Label and pixels of each row by its key; no key may occur twice."""
    rows: dict[str, tuple[int, bytes]] = {}
    for batch in span_batches(dataset, split, None, 0, dataset.rows(split), 256):
        for key, label, image in zip(batch.strings("key"), batch["label"].tolist(), batch["image"].numpy()):
            assert key not in rows
            rows[key] = label, image.tobytes()
    return rows


def test_both_versions_of_cifar_become_the_same_rows(spark, tmp_path):
    train, test = [made_images(120, 10, seed=1), made_images(130, 10, seed=2)], made_images(50, 10, seed=3)
    datasets = []
    for write in (write_cifar_binary, write_cifar_python):
        write(tmp_path / write.__name__, train, test)
        source, url = str(tmp_path / write.__name__), str(tmp_path / f"{write.__name__}-dataset")
        datasets.append(prepare(spark, source, url, PrepareOptions()))
    images = {split: np.concatenate([i for i, _ in parts]) for split, parts in (("train", train), ("test", [test]))}
    labels = {split: np.concatenate([y for _, y in parts]) for split, parts in (("train", train), ("test", [test]))}
    for dataset in datasets:
        for split in ("train", "test"):
            expected = sorted((int(y), x.tobytes()) for x, y in zip(images[split], labels[split]))
            assert sorted(content(dataset, split).values()) == expected
            counts = np.bincount(labels[split], minlength=10).tolist()
            assert list(dataset.info["counts"][split].values()) == counts
        mean = images["train"].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(dataset.asset("mean"), mean, atol=1e-4)
    assert datasets[0].info["problems"]["count"] == datasets[0].info["converted"] == 0


def test_the_same_files_and_seed_give_the_same_dataset_and_sorted_classes_are_mixed(spark, tmp_path):
    images, labels = made_images(300, 3, (6, 8))
    order = np.argsort(labels, kind="stable")
    write_class_folders(tmp_path / "raw", {"": (images[order], labels[order])}, ["a", "b", "c"])
    once, again = (prepare(spark, str(tmp_path / "raw"), str(tmp_path / name), SMALL) for name in ("one", "two"))
    assert once.digest == again.digest
    assert (once.rows("train"), once.rows("test")) == (240, 60)
    assert not content(once, "train").keys() & content(once, "test").keys()
    for batch in span_batches(once, "train", ["label"], 0, 240, 60):
        assert np.bincount(batch["label"].numpy(), minlength=3).min() >= 8
    other = prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "one"), PrepareOptions(size="8x6", shuffle_seed=1), overwrite=True
    )
    assert other.digest != once.digest
    assert content(other, "train") == content(again, "train")


def test_broken_images_are_left_out_and_told_and_the_rest_is_whole(spark, tmp_path):
    """Traps: an undecodable image that stops or loops the job, a bare except that hides it."""
    raw = tmp_path / "raw"
    images, labels = made_images(40, 2, (6, 8))
    write_class_folders(raw, {"train": (images[:30], labels[:30]), "test": (images[30:], labels[30:])}, ["a", "b"])
    whole = (raw / "train/a/00000.png").read_bytes()
    (raw / "train/a/00000.png").write_bytes(whole[: len(whole) // 2])
    (raw / "test/b/00001.png").write_bytes(b"no image")
    (raw / "train/b/00001.png").write_bytes(to_png(images[1][:1]))
    dataset = prepare(spark, str(raw), str(tmp_path / "dataset"), SMALL)
    assert (dataset.rows("train"), dataset.rows("test")) == (29, 9)
    problems = dataset.info["problems"]
    assert problems["count"] == 2
    assert {item for item, _ in problems["first"]} == {"train/a/00000.png", "test/b/00001.png"}
    assert all(reason for _, reason in problems["first"])
    assert dataset.info["converted"] == 1
    assert dataset.info["counts"]["train"] == {"a": 14, "b": 15}
    kept = np.concatenate([images[2:30], np.repeat(images[1:2, :1], 3, axis=1)])
    np.testing.assert_allclose(dataset.asset("mean"), kept.mean(axis=0, dtype=np.float64), atol=1e-4)


@pytest.mark.parametrize("kind", ["folders", "cifar"])
def test_a_host_that_does_not_see_the_source_is_named_and_no_image_is_called_broken(spark, tmp_path, monkeypatch, kind):
    """As where raw files lie on the driver's own disk: it lists them, and workers find other folders."""
    raw = tmp_path / "raw"
    if kind == "folders":
        write_class_folders(raw, {"train": made_images(10, 2, (6, 8))}, ["a", "b"])
    else:
        write_cifar_binary(raw, [made_images(20, 10)], made_images(10, 10))

    def elsewhere(*arguments):
        return open_storage(tmp_path / "of another host"), find_source(*arguments)[1]

    monkeypatch.setattr("echelon.recipes.images.prepare.find_source", elsewhere)
    with pytest.raises(EchelonError, match=rf"there is no file .* on {socket.gethostname()}, .* all hosts share"):
        prepare(spark, str(raw), str(tmp_path / "dataset"), SMALL)


def test_a_damaged_archive_stops_the_job_and_leaves_no_dataset(spark, tmp_path):
    raw, url = tmp_path / "raw", str(tmp_path / "dataset")
    write_cifar_binary(raw, [made_images(20, 10), made_images(20, 10)], made_images(10, 10))
    file = raw / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(EchelonError, match=r"data_batch_2\.bin has 61459 bytes"):
        prepare(spark, str(raw), url, PrepareOptions())
    with pytest.raises(DataError, match="half-written"):
        open_dataset(url)
    write_cifar_binary(raw, [made_images(20, 10), made_images(20, 10)], made_images(10, 10))
    assert prepare(spark, str(raw), url, PrepareOptions()).rows("train") == 40


def test_raw_files_are_labelled_as_the_model_learned_and_all_of_them_are_tested(spark, tmp_path):
    """Traps: labels that mean other classes, a test on a part of the test set."""
    learner = ImagesLearner(classes=CLASSES, size=[6, 8], total_steps=1, model_name="resnet")
    images, labels = made_images(40, 2, (12, 16))
    write_class_folders(tmp_path / "raw", {"": (images, labels)}, ["gnu", "bee"])
    dataset = RECIPE.prepare(
        spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), PrepareOptions(), fitting=learner, overwrite=False
    )
    learner.check(dataset)
    assert dataset.splits == ("test",)
    rows = content(dataset, "test")
    assert len(rows) == 40
    assert {CLASSES[label] for label, _ in rows.values()} == {"gnu", "bee"}
    assert all(CLASSES[label] == key.split("/")[0] for key, (label, _) in rows.items())
    assert learner.baseline(dataset, "test")["accuracy"] == 0.5


def test_items_that_share_a_task_give_the_same_dataset(spark, tmp_path, monkeypatch):
    write_class_folders(tmp_path / "raw", {"": made_images(60, 3, (12, 16))}, ["ant", "bee", "cat"])
    monkeypatch.setattr(folders, "FILES_PER_ITEM", 2)
    digests = set()
    for brief in (True, False):
        monkeypatch.setattr(folders.ClassFiles, "is_brief", lambda item, storage, brief=brief: brief)
        dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / f"{brief}"), SMALL)
        digests.add(dataset.digest)
        assert sum(map(dataset.rows, dataset.splits)) == 60
    assert len(digests) == 1


def test_images_of_another_size_than_the_model_knows_are_refused_where_they_cannot_be_stretched(spark, tmp_path):
    learner = ImagesLearner(classes=["a"], size=[16, 24], total_steps=1)
    write_cifar_binary(tmp_path / "raw", [made_images(10, 10)], None)
    with pytest.raises(DataError, match="are 32x32, the model was trained on 24x16"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "x"), PrepareOptions(), fitting=learner)


@pytest.mark.parametrize("kind", ["folders", "parquet of numbers"])
def test_images_of_classes_that_the_model_does_not_know_are_predicted_and_not_evaluated(spark, tmp_path, caplog, kind):
    """Trap: labels that mean other classes, counted as if they meant those of the model."""
    learner = ImagesLearner(classes=["ant", "bee"], size=[6, 8], total_steps=1, model_name="resnet")
    images, labels = made_images(30, 3, (6, 8))
    if kind == "folders":
        write_class_folders(tmp_path / "raw", {"": (images, labels)}, ["ant", "bee", "cat"])
    else:
        (tmp_path / "raw").mkdir()
        pixels = [image.tobytes() for image in images]
        pq.write_table(pa.table({"data": pixels, "label": labels}), tmp_path / "raw" / "images.parquet")
    dataset = prepare(spark, str(tmp_path / "raw"), str(tmp_path / "x"), PrepareOptions(), fitting=learner)
    assert "can be predicted, but not evaluated" in caplog.text
    learner.check(dataset)
    assert dataset.info["unlabelled"] == dataset.rows("test") == 30
    assert dataset.info["problems"]["count"] == 0
    rows = content(dataset, "test")
    assert {label for label, _ in rows.values()} == {-1}
    assert sorted(image for _, image in rows.values()) == sorted(image.tobytes() for image in images)
    with pytest.raises(DataError, match="30 of 30 images have no label"):
        learner.baseline(dataset, "test")


def test_the_digits_of_the_demo_are_a_source(tmp_path):
    from echelon.recipes.images.sources import find_source

    write_digits(tmp_path)
    storage, source = find_source(str(tmp_path), (8, 8), PrepareOptions().division)
    assert source.classes == tuple("0123456789")
    counts = {"train": 0, "test": 0}
    for item in source.items:
        counts[item.split] += sum(len(rows.keys) for rows in item.rows(storage))
    assert counts == {"train": 1438, "test": 359}
