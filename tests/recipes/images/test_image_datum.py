"""Databases of Caffe."""

import numpy as np
import pytest
from read_back import SIZE, read_all

from echelon.errors import DataError
from echelon.recipes.images.datum import content_of, label_of, message
from echelon.recipes.images.made import made_images, to_datum, to_png, write_database
from echelon.recipes.images.rows import Division
from echelon.recipes.pixels.decode import BrokenImage

pytest.importorskip("lmdb")

IMAGES, LABELS = made_images(30, 3, SIZE, seed=1)


def records(count=30, encoded=False):
    rows = enumerate(zip(IMAGES[:count], LABELS.tolist()))
    return [(f"{i:08d}_{i}.jpg".encode(), to_datum(image, label, encoded=encoded)) for i, (image, label) in rows]


EXPECTED = sorted((int(label), image.tobytes()) for image, label in zip(IMAGES, LABELS))


def test_the_message_has_the_bytes_of_caffes_definition():
    """Written out by hand from caffe.proto: tag = number << 3 | wire type."""
    datum = message()(channels=3, height=300, width=2, data=b"ab", label=7, float_data=[1.0], encoded=True)
    by_hand = b"\x08\x03\x10\xac\x02\x18\x02\x22\x02ab\x28\x07\x35\x00\x00\x80\x3f\x38\x01"
    assert datum.SerializeToString() == by_hand


@pytest.mark.parametrize("label", [0, 7, 999, 2**31 - 1, -1, -5])
def test_the_label_is_found_without_parsing_the_message(label):
    datum = to_datum(IMAGES[0], label)
    assert label_of(memoryview(datum)) == label == message().FromString(datum).label
    assert label_of(memoryview(to_datum(IMAGES[0], None))) == -1
    floats = message()(channels=1, height=1, width=2, float_data=[1.5, 2.5], label=4)
    assert label_of(memoryview(floats.SerializeToString())) == 4


def test_a_record_cut_off_anywhere_is_broken_or_has_no_other_label():
    datum = to_datum(IMAGES[0], 300)
    for length in range(len(datum)):
        try:
            assert label_of(memoryview(datum)[:length]) in (-1, 300)
        except BrokenImage:
            continue


@pytest.mark.parametrize("encoded", [False, True], ids=["raw", "encoded"])
def test_a_database_gives_every_image_and_its_label(tmp_path, encoded):
    write_database(tmp_path / "images_lmdb", records(encoded=encoded))
    source, rows, problems = read_all(tmp_path / "images_lmdb")
    assert source.classes == ("0", "1", "2")
    assert not problems
    assert sorted(rows["train"].values()) == EXPECTED


def test_raw_pixels_are_blue_first_unless_it_is_said_otherwise(tmp_path):
    write_database(tmp_path / "raw", records())
    right, swapped = read_all(tmp_path / "raw")[1]["train"], read_all(tmp_path / "raw", blue_first=False)[1]["train"]
    for key, (_, pixels) in right.items():
        image = np.frombuffer(pixels, np.uint8).reshape(3, *SIZE)
        assert swapped[key][1] == image[::-1].tobytes()
    assert sorted(right.values()) == EXPECTED


def test_databases_are_called_after_their_splits_and_classes_have_names(tmp_path):
    write_database(tmp_path / "ilsvrc12_train_lmdb", records())
    write_database(tmp_path / "ilsvrc12_val_lmdb", records(9, encoded=True))
    (tmp_path / "synset_words.txt").write_text("n01443537 goldfish\nn02056570 king penguin\nn02099601 retriever\n")
    source, rows, problems = read_all(tmp_path, Division(0.2, 0))
    assert source.classes == ("n01443537 goldfish", "n02056570 king penguin", "n02099601 retriever")
    assert not problems
    assert {split: len(of) for split, of in rows.items()} == {"train": 30, "val": 9}
    assert list(read_all(tmp_path / "ilsvrc12_val_lmdb")[1]) == ["val"]


def test_one_database_is_divided_within_each_class(tmp_path):
    write_database(tmp_path / "raw", records())
    _, rows, _ = read_all(tmp_path / "raw", Division(0.2, 0))
    assert np.bincount([label for label, _ in rows["test"].values()]).tolist() == [2, 2, 2]
    assert sorted([*rows["train"].values(), *rows["test"].values()]) == EXPECTED


def test_broken_records_are_told_and_the_rest_is_read(tmp_path):
    grey = message()(channels=1, height=8, width=6, data=bytes(48), label=1)
    floats = message()(channels=1, height=8, width=6, float_data=[7.0] * 48, label=1)
    dark = message()(channels=1, height=8, width=6, float_data=[-0.5] * 48, label=1)
    cut = message()(channels=3, height=8, width=6, data=bytes(50), label=1)
    broken = message()(data=to_png(IMAGES[0])[:50], label=1, encoded=True)
    empty = message()(data=b"", label=1, encoded=True)
    unlabelled = to_datum(IMAGES[0], None)
    named = {b"grey": grey, b"floats": floats, b"dark": dark, b"cut": cut, b"broken": broken, b"empty": empty}
    odd = [(key, datum.SerializeToString()) for key, datum in named.items()]
    write_database(tmp_path / "raw", [*records(6), *odd, (b"unlabelled", unlabelled), (b"zz garbage", b"\xff" * 30)])
    _, rows, problems = read_all(tmp_path / "raw")
    assert {problem.item for problem in problems} == {"dark", "cut", "broken", "empty", "unlabelled", "zz garbage"}
    assert all(problem.reason for problem in problems)
    assert len(rows["train"]) == 8
    assert rows["train"]["grey"] == (1, bytes(3 * 48))
    assert rows["train"]["floats"] == (1, b"\x07" * 3 * 48)


def test_unlabelled_records_are_taken_to_predict(tmp_path):
    write_database(tmp_path, [(b"a", to_datum(IMAGES[0], None))])
    _, rows, problems = read_all(tmp_path, Division(1, 0), ("x", "y"))
    assert rows == {"test": {"a": (-1, IMAGES[0].tobytes())}}
    assert not problems
    with pytest.raises(DataError, match="a: it has no label"):
        read_all(tmp_path)


def test_a_database_that_is_cut_off_is_refused_and_kills_no_process(tmp_path):
    write_database(tmp_path, records())
    content = (tmp_path / "data.mdb").read_bytes()
    for length in (0, 100, 5000, len(content) - 4096):
        (tmp_path / "data.mdb").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"data\.mdb"):
            read_all(tmp_path)


def test_no_database_is_read_from_an_object_store(s3, tmp_path):
    from echelon.data.storage import open_storage

    write_database(tmp_path, records(2))
    open_storage(f"{s3}/database").write("data.mdb", (tmp_path / "data.mdb").read_bytes())
    with pytest.raises(DataError, match="must be on a disk: copy it"):
        read_all(f"{s3}/database")


def test_a_datum_of_other_channels_is_broken():
    with pytest.raises(BrokenImage, match="4 channels of 3x2"):
        content_of(message()(channels=4, height=2, width=3, data=bytes(24)).SerializeToString(), blue_first=True)
