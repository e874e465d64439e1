"""Images in tar archives."""

import io
import shlex
import subprocess
import tarfile

import numpy as np
import pytest
from read_back import CLASSES, IDS, NOTHING, TRAIN, VAL, expected, png, read_all

from echelon.errors import DataError
from echelon.recipes.images.download import IMAGENET
from echelon.recipes.images.made import write_imagenet, write_tar
from echelon.recipes.images.rows import Division


@pytest.fixture
def imagenet(tmp_path):
    write_imagenet(tmp_path, TRAIN, VAL, CLASSES)
    return tmp_path


def test_training_archives_and_the_validation_archive_give_every_image_its_class(imagenet):
    source, rows, problems = read_all(imagenet)
    assert source.classes == CLASSES
    assert not problems
    assert set(rows) == {"train", "val"}
    assert sorted(rows["train"].values()) == expected(TRAIN)
    assert sorted(rows["val"].values()) == expected(VAL)
    assert all(IDS[label] in key for key, (label, _) in rows["train"].items())


def test_the_training_archives_alone_are_divided_within_each_class(imagenet):
    source, rows, problems = read_all(imagenet / "train", Division(0.2, seed=3))
    assert source.classes == IDS
    assert not problems
    for label in range(3):
        assert sum(its == label for its, _ in rows["test"].values()) == 2
        assert sum(its == label for its, _ in rows["train"].values()) == 8
    assert sorted([*rows["train"].values(), *rows["test"].values()]) == expected(TRAIN)
    assert read_all(imagenet / "train", Division(0.2, seed=3))[1] == rows
    assert read_all(imagenet / "train", Division(0.2, seed=4))[1]["test"].keys() != rows["test"].keys()


def test_the_validation_archive_alone_has_the_classes_of_the_list_beside_it(imagenet):
    source, rows, _ = read_all(imagenet / "val.tar")
    assert source.classes == CLASSES
    assert sorted(rows["val"].values()) == expected(VAL)


def test_numbers_in_the_list_of_labels_count_the_class_list_and_not_the_archives(imagenet):
    """A part of ImageNet with the labels of the whole: number 2 is the third class, though only two are there."""
    (imagenet / "train" / f"{IDS[0]}.tar").unlink()
    source, rows, problems = read_all(imagenet)
    assert source.classes == CLASSES[1:]
    assert sorted(label for label, _ in rows["val"].values()) == [0] * 7 + [1] * 7
    assert sorted(rows["val"].values()) == [(label - 1, image) for label, image in expected(VAL) if label]
    assert {problem.reason for problem in problems} == {f"its class {IDS[0]} (label 0) is none of the classes here"}
    assert len(problems) == 7


def test_numbers_beyond_the_known_classes_are_refused_since_the_others_would_be_mistaken(imagenet):
    """Trap 25: of a part of ImageNet and the labels of the whole, number 2 is not the third class that is there."""
    (imagenet / "synset_words.txt").unlink()
    (imagenet / "train" / f"{IDS[0]}.tar").unlink()
    with pytest.raises(DataError, match=r"labels up to 2, but they can count only 2 classes, .*synsets\.txt"):
        read_all(imagenet)
    (imagenet / "synset_words.txt").write_text("\n".join(CLASSES[1:]))
    with pytest.raises(DataError, match="labels up to 2"):
        read_all(imagenet)
    (imagenet / "synset_words.txt").unlink()
    with pytest.raises(DataError, match="labels up to 2"):
        read_all(imagenet / "val.tar", classes=CLASSES[:2])


def test_imagenet_put_where_the_printed_steps_say_gives_every_image_once(imagenet, tmp_path):
    folder = tmp_path / "as printed"
    outer = folder / "ILSVRC2012_img_train.tar"
    write_tar(outer, [(path.name, path.read_bytes()) for path in sorted((imagenet / "train").iterdir())])
    (folder / "ILSVRC2012_img_val.tar").write_bytes((imagenet / "val.tar").read_bytes())
    with tarfile.open(tmp_path / "caffe_ilsvrc12.tar.gz", "w:gz") as archive:
        for name, content in (
            ("synsets.txt", "\n".join(IDS)),
            ("val.txt", (imagenet / "val.txt").read_text()),
            ("train.txt", "n01443537/n01443537_0.JPEG 0\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    steps = [line.strip() for line in IMAGENET.format(folder=shlex.quote(str(folder))).splitlines()]
    commands = [line for line in steps if line.startswith(("tar ", "mkdir ", "mv "))]
    assert commands
    for command in commands:
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, timeout=60)
    assert f"echelon images prepare {shlex.quote(str(folder))} DATASET --size 256x256" in steps
    for also in ("", "train.txt"):
        if also:  # All of that archive may have been unpacked.
            subprocess.run(["tar", "-xzf", tmp_path / "caffe_ilsvrc12.tar.gz", "-C", folder], check=True, timeout=60)
        source, rows, problems = read_all(folder)
        assert source.classes == IDS
        assert not problems
        assert {split: sorted(of.values()) for split, of in rows.items()} == {
            "train": expected(TRAIN),
            "val": expected(VAL),
        }


def test_an_archive_that_is_there_twice_is_refused(imagenet, tmp_path):
    """Every image would be taken twice. Traps 21 and 30: to train and to test, as the keys are others."""
    archives = [(path.name, path.read_bytes()) for path in sorted((imagenet / "train").iterdir())]
    write_tar(imagenet / "ILSVRC2012_img_train.tar", archives)
    with pytest.raises(DataError, match=r"train/n01443537\.tar .*are the same archive"):
        read_all(imagenet)
    (imagenet / "ILSVRC2012_img_train.tar").unlink()
    (imagenet / "ILSVRC2012_img_val.tar").write_bytes((imagenet / "val.tar").read_bytes())
    with pytest.raises(DataError, match=r"_val\.tar .*val\.tar are the same archive"):
        read_all(imagenet)
    for part, numbers in (("p1", (0, 3)), ("p2", (6, 9))):
        write_tar(tmp_path / "parts" / part / "cat.tar", [(f"{i}.png", png(i)) for i in numbers])
    assert len(read_all(tmp_path / "parts")[1]["train"]) == 4


@pytest.mark.parametrize("division", [NOTHING, Division(0.5, 0)], ids=["whole", "divided"])
def test_an_archive_of_class_folders_is_not_taken_for_one_class(tmp_path, division):
    write_tar(tmp_path / "photos.tar", [("cat/1.png", png(0)), ("cat/2.png", png(3)), ("dog/1.png", png(1))])
    with pytest.raises(DataError, match=r"photos\.tar .* has the folders cat and dog: unpack it"):
        read_all(tmp_path, division)


def test_an_image_gets_the_label_of_its_own_line_and_of_no_other(tmp_path):
    names = ["a/1.png", "b/1.png", "2.png", "c/3.png", "4.png"]
    write_tar(tmp_path / "some.tar", [(name, png(i)) for i, name in enumerate(names)])
    (tmp_path / "some.txt").write_text("1.png 1\nx/2.png 2\n3.png 0\nx/4.png 0\ny/4.png 1\n")
    _, rows, problems = read_all(tmp_path)
    assert {key: label for key, (label, _) in rows["train"].items()} == {"some.tar/2.png": 2, "some.tar/c/3.png": 0}
    assert {problem.item.removeprefix("some.tar/"): problem.reason for problem in problems} == {
        **dict.fromkeys(["a/1.png", "b/1.png", "4.png"], "some.txt does not list it"),
        **dict.fromkeys(["1.png", "x/4.png", "y/4.png"], "it is listed, but the archive lacks it"),
    }


def test_a_model_of_other_order_gets_its_own_labels(imagenet):
    wanted = (*CLASSES[::-1], "n99999999 unseen")
    for part in ("", "train", "val.tar"):
        source, rows, _ = read_all(imagenet / part, Division(1, 0), wanted)
        assert source.classes == wanted
        labelled = {"": TRAIN, "train": TRAIN, "val.tar": VAL}[part]
        found = rows[{"": "train", "train": "test", "val.tar": "val"}[part]]
        assert sorted(found.values()) == sorted((2 - label, image) for label, image in expected(labelled))
    with pytest.raises(DataError, match=f"{IDS[2]} are none of"):
        read_all(imagenet, classes=CLASSES[:2])


def test_archives_in_an_archive_are_read_where_they_lie(imagenet, tmp_path):
    outer = tmp_path / "whole" / "ILSVRC2012_img_train.tar"
    write_tar(outer, [(path.name, path.read_bytes()) for path in sorted((imagenet / "train").iterdir())])
    source, rows, problems = read_all(outer.parent)
    assert source.classes == IDS
    assert not problems
    assert sorted(rows["train"].values()) == expected(TRAIN)
    assert sorted(read_all(outer)[1]["train"].values()) == expected(TRAIN)


def test_one_flat_archive_is_divided_and_its_classes_are_numbers_without_a_list(tmp_path):
    write_tar(tmp_path / "sample.tar", [(f"./some/{i}.png", png(i)) for i in range(30)])
    (tmp_path / "sample.txt").write_text("".join(f"{i}.png {label}\n" for i, label in enumerate(TRAIN[1])))
    source, rows, problems = read_all(tmp_path / "sample.tar", Division(0.2, 0))
    assert source.classes == ("0", "1", "2")
    assert not problems
    assert {split: len(of) for split, of in rows.items()} == {"train": 24, "test": 6}
    assert sorted([*rows["train"].values(), *rows["test"].values()]) == expected(TRAIN)


def test_a_large_archive_becomes_several_items(tmp_path):
    write_tar(tmp_path / "many.tar", [(f"{i}.png", png()) for i in range(600)])
    (tmp_path / "many.txt").write_text("".join(f"{i}.png 0\n" for i in range(600)))
    source, rows, _ = read_all(tmp_path)
    assert [item.images for item in source.items] == [256, 256, 88]
    assert len(rows["train"]) == 600


def test_what_lists_and_archives_do_not_share_is_told(imagenet):
    lines = (imagenet / "val.txt").read_text().splitlines(keepends=True)
    (imagenet / "val.txt").write_text("".join([*lines[2:], "lost.png 1\n"]).replace(" 2\n", " -7\n", 1))
    (imagenet / "extra.tar").write_bytes((imagenet / "val.tar").read_bytes())
    (imagenet / "extra.txt").write_text("".join(lines))
    _, rows, problems = read_all(imagenet)
    told = {problem.item: problem.reason for problem in problems}
    assert told == {
        "val.tar/val_00000000.png": "val.txt does not list it",
        "val.tar/val_00000001.png": "val.txt does not list it",
        "val.tar/val_00000002.png": "its label -7 is none of the 3 classes, 0 to 2",
        "val.tar/lost.png": "it is listed, but the archive lacks it",
        "extra.tar": "other archives are of a class, or are called train, val or test, and it is not: prepare it alone",
    }
    assert len(rows["val"]) == 18


def test_a_list_with_two_labels_for_a_name_is_refused(imagenet):
    with (imagenet / "val.txt").open("a") as file:
        file.write("val_00000000.png 1\n")
    with pytest.raises(DataError, match=r"line 22 gives val_00000000\.png another label"):
        read_all(imagenet)


def test_a_validation_archive_without_labels_is_no_class(imagenet):
    (imagenet / "val.txt").unlink()
    source, rows, problems = read_all(imagenet)
    assert source.classes == CLASSES
    assert set(rows) == {"train"}
    assert [problem.item for problem in problems] == ["val.tar"]
    assert "val.txt" in problems[0].reason
    with pytest.raises(DataError, match=r"has a label: val\.tar: there is no list"):
        read_all(imagenet / "val.tar")


def test_unlabelled_images_are_taken_to_predict_and_only_then(tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(3):
        (flat / f"{number}.png").write_bytes(png(number))
    write_tar(tmp_path / "photos.tar", [(f"{i}.png", png(i)) for i in range(3)])
    (tmp_path / "listed").mkdir()
    write_tar(tmp_path / "listed" / "test.tar", [(f"{i}.png", png(i)) for i in range(3)])
    (tmp_path / "listed" / "test.txt").write_text("0.png\n1.png\n2.png\n")
    for source in (flat, tmp_path / "photos.tar", tmp_path / "listed"):
        found, rows, problems = read_all(source, Division(1, 0), CLASSES)
        assert found.classes == CLASSES
        assert not problems
        assert sorted(rows["test"].values()) == sorted((-1, image.tobytes()) for image in TRAIN[0][:3])
    with pytest.raises(DataError, match="no images were recognised"):
        read_all(flat)
    with pytest.raises(DataError, match="it has no label"):
        read_all(tmp_path / "listed")


def test_archives_are_read_from_an_object_store(s3, imagenet):
    from echelon.data.storage import open_storage

    storage = open_storage(f"{s3}/archives")
    for path in sorted(imagenet.rglob("*")):
        if path.is_file():
            storage.write(str(path.relative_to(imagenet)), path.read_bytes())
    _, rows, problems = read_all(f"{s3}/archives")
    assert not problems
    assert sorted(rows["train"].values()) == expected(TRAIN)
    assert sorted(rows["val"].values()) == expected(VAL)
    assert sorted(read_all(f"{s3}/archives/val.tar")[1]["val"].values()) == expected(VAL)


def test_labels_by_class_list_agree_with_those_by_archive_on_real_images(shared_data):
    """On ImageNet itself: the classes of val.txt and those of the archives must mean the same."""
    folder = shared_data / "imagenet"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    source, rows, problems = read_all(folder)
    assert len(source.classes) == 10
    assert source.classes[0].startswith("n01443537 goldfish")
    assert np.bincount([label for label, _ in rows["train"].values()]).tolist() == [300] * 10
    assert len(rows["val"]) == 250
    assert [problem.item for problem in problems] == ["fullsize_sample.tar"]
