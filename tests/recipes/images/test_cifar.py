"""CIFAR-10 batches: real files of both versions, and what must not be believed."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from echelon.data.storage import open_storage
from echelon.errors import DataError
from echelon.recipes.images.cifar import CLASSES, PIXELS, load_pickle, read_binary, read_python
from echelon.recipes.images.made import Labelled, made_images, write_cifar_binary, write_cifar_python
from echelon.recipes.images.rows import Division, Problem, Rows
from echelon.recipes.images.sources import find_source

NO_DIVISION = Division(0, 0)
WRITERS = [write_cifar_binary, write_cifar_python]


def read_all(folder: Path, division: Division = NO_DIVISION) -> dict[str, list[Rows]]:
    storage, source = find_source(str(folder), (32, 32), division)
    assert source.classes == CLASSES
    assert source.size == (32, 32)
    splits: dict[str, list[Rows]] = {}
    for item in source.items:
        for rows in item.rows(storage):
            assert not isinstance(rows, Problem)
            splits.setdefault(item.split, []).append(rows)
    return splits


def joined(parts: list[Rows]) -> Labelled:
    return np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts])


@pytest.mark.parametrize("write", WRITERS)
def test_batches_come_back_as_they_were_written(tmp_path, write):
    train, test = [made_images(30, 10, seed=1), made_images(1030, 10, seed=2)], made_images(20, 10, seed=3)
    write(tmp_path, train, test)
    splits = read_all(tmp_path)
    assert sorted(splits) == ["test", "train"]
    for split, parts in (("train", train), ("test", [test])):
        images, labels = joined(splits[split])
        np.testing.assert_array_equal(images, np.concatenate([i for i, _ in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([y for _, y in parts]))
    keys = [key for parts in splits.values() for rows in parts for key in rows.keys]
    assert len(set(keys)) == len(keys) == 1080


@pytest.mark.parametrize("write", WRITERS)
def test_without_a_test_batch_each_class_is_divided_and_no_row_is_on_both_sides(tmp_path, write):
    images, labels = made_images(500, 10)
    write(tmp_path, [(images, labels)], None)
    splits = read_all(tmp_path, Division(0.2, seed=7))
    assert np.bincount(joined(splits["test"])[1]).tolist() == [10] * 10
    keys = {split: {key for rows in parts for key in rows.keys} for split, parts in splits.items()}
    assert not keys["train"] & keys["test"]
    assert len(keys["train"] | keys["test"]) == 500
    again = read_all(tmp_path, Division(0.2, seed=7))
    other = read_all(tmp_path, Division(0.2, seed=8))
    assert keys["test"] == {key for rows in again["test"] for key in rows.keys}
    assert keys["test"] != {key for rows in other["test"] for key in rows.keys}


def test_one_file_alone_is_a_source(tmp_path):
    write_cifar_binary(tmp_path, [made_images(10, 10), made_images(20, 10)], None)
    storage, source = find_source(str(tmp_path / "data_batch_2.bin"), (32, 32), NO_DIVISION)
    assert sum(len(rows.keys) for item in source.items for rows in item.rows(storage)) == 20


@pytest.mark.parametrize("cut", [1, 3073 * 10 - 1, 3073 * 3 + 5])
def test_a_truncated_binary_batch_is_named_with_its_size(tmp_path, cut):
    write_cifar_binary(tmp_path, [made_images(10, 10)], None)
    file = tmp_path / "data_batch_1.bin"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match=rf"data_batch_1\.bin has {cut} bytes.*3073"):
        read_all(tmp_path)


def test_an_empty_batch_is_refused():
    with pytest.raises(DataError, match="0 bytes"):
        read_binary(b"", "data_batch_1.bin")


def test_a_label_above_nine_is_named_with_its_row():
    record = bytes([3]) + bytes(PIXELS)
    wrong = bytes([10]) + bytes(PIXELS)
    with pytest.raises(DataError, match="row 1 the label 10"):
        read_binary(record + wrong, "test_batch.bin")


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_a_truncated_python_batch_is_named(tmp_path, cut):
    write_cifar_python(tmp_path, [made_images(10, 10)], None)
    file = tmp_path / "data_batch_1"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match="data_batch_1"):
        read_all(tmp_path)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_pickle_that_calls_anything_is_refused_and_does_not_call_it(tmp_path):
    trap = tmp_path / "called"
    with pytest.raises(DataError, match="data_batch_1 is refused"):
        load_pickle(pickle.dumps({b"labels": [0], b"data": Attack(trap)}), "data_batch_1")
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_through_every_pickle_protocol(protocol):
    images, labels = made_images(10, 10)
    batch = {"data": images.reshape(10, PIXELS), "labels": labels.tolist()}
    read, its_labels = read_python(pickle.dumps(batch, protocol=protocol), "data_batch_1")
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(its_labels, labels)


@pytest.mark.parametrize(
    "batch",
    [
        {"data": np.zeros((2, PIXELS), np.uint8)},
        {"labels": [1, 2]},
        {"data": np.zeros((2, PIXELS), np.float32), "labels": [1, 2]},
        {"data": np.zeros((2, PIXELS), np.uint8), "labels": [1, 2, 3]},
        {"data": np.zeros((2, 100), np.uint8), "labels": [1, 2]},
        [1, 2],
    ],
)
def test_a_pickle_of_something_else_is_refused(batch):
    with pytest.raises(DataError, match="data_batch_1"):
        read_python(pickle.dumps(batch), "data_batch_1")


def test_both_versions_of_the_published_data_agree(shared_data):
    """The classes of the real files are the published ones, in order, and their rows have labels 0…9."""
    for version in ("cifar-10-batches-bin", "cifar-10-batches-py"):
        storage = open_storage(str(shared_data / "cifar10" / version))
        _, source = find_source(storage.url, (32, 32), NO_DIVISION)
        assert source.classes == CLASSES
        rows = next(iter(source.items[0].rows(storage)))
        assert rows.images.shape[1:] == (3, 32, 32)
        assert set(rows.labels.tolist()) == set(range(10))
