"""Class folders, decoding, and finding out what a source is."""

import io

import numpy as np
import pytest
from PIL import Image

from echelon.errors import DataError
from echelon.recipes.images.folders import FILES_PER_ITEM
from echelon.recipes.images.made import made_images, to_png, write_cifar_binary, write_class_folders, write_tar
from echelon.recipes.images.rows import Division, Problem, Rows
from echelon.recipes.images.sources import find_source
from echelon.recipes.pixels.decode import BrokenImage, decode

SIZE = (8, 8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def read_all(folder, division=Division(0, 0), classes=None):  # noqa: B008
    storage, source = find_source(str(folder), SIZE, division, classes)
    rows, problems = {}, []
    for item in source.items:
        for part in item.rows(storage):
            if isinstance(part, Problem):
                problems.append(part)
            else:
                rows.setdefault(item.split, []).append(part)
    return source, rows, problems


def keys(parts: list[Rows]) -> set[str]:
    return {key for part in parts for key in part.keys}


def test_a_lossless_image_of_the_wanted_size_comes_back_pixel_by_pixel():
    images, _ = made_images(1, 1, (9, 13))
    pixels, converted = decode(to_png(images[0]), (9, 13))
    np.testing.assert_array_equal(pixels, images[0])
    assert not converted


def test_resizing_stretches_height_and_width_as_they_are_named():
    left_black = np.zeros((3, 20, 40), np.uint8)
    left_black[:, :, 20:] = 255
    pixels, _ = decode(to_png(left_black), (10, 30))
    assert pixels.shape == (3, 10, 30)
    assert pixels[:, :, :13].max() < 20
    assert pixels[:, :, 17:].min() > 235


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY),
        Image.fromarray(GREY).convert("P"),
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.merge("LA", [Image.fromarray(GREY), Image.new("L", SIZE, 255)]),
        Image.merge("RGBA", [Image.fromarray(GREY)] * 3 + [Image.new("L", SIZE, 255)]),
    ],
    ids=["grey", "palette", "16 bits", "grey with alpha", "alpha"],
)
def test_other_modes_become_the_same_rgb_and_are_counted(image):
    pixels, converted = decode(encoded(image, "PNG"), SIZE)
    assert converted
    assert np.abs(pixels.astype(int) - GREY).max() <= 1


def test_transparent_pixels_are_laid_on_black():
    half = Image.new("RGBA", SIZE, (200, 100, 50, 0))
    pixels, _ = decode(encoded(half, "PNG"), SIZE)
    assert pixels.max() == 0


def test_cmyk_jpegs_are_converted():
    pixels, converted = decode(encoded(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG"), SIZE)
    assert converted
    assert pixels[0].mean() > 150 > 100 > pixels[1:].mean()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("left", [0.0, 0.02, 0.5, 0.9])
def test_a_cut_off_image_is_broken_and_says_why(kind, left):
    whole = encoded(Image.fromarray(made_images(1, 1, (64, 64))[0][0].transpose(1, 2, 0)), kind)
    with pytest.raises(BrokenImage, match=r"\w{3}"):
        decode(whole[: int(left * len(whole))], SIZE)


def test_what_is_no_image_is_broken():
    with pytest.raises(BrokenImage):
        decode(b"GIF89a is not enough", SIZE)


def test_class_folders_have_labels_in_the_order_of_their_names(tmp_path):
    images, labels = made_images(12, 3, SIZE)
    write_class_folders(tmp_path, {"train": (images, labels), "test": (images[:3], labels[:3])}, ["cat", "ant", "bee"])
    source, rows, problems = read_all(tmp_path)
    assert source.classes == ("ant", "bee", "cat")
    assert not problems
    assert {split: len(keys(parts)) for split, parts in rows.items()} == {"train": 12, "test": 3}
    for part in rows["train"]:
        for image, label, key in zip(part.images, part.labels, part.keys):
            assert source.classes[label] == key.split("/")[1]
            np.testing.assert_array_equal(image, images[int(key.split("/")[2][:5])])


def test_archives_beside_class_folders_are_left_out_and_told(tmp_path):
    images, labels = made_images(4, 2, SIZE)
    write_class_folders(tmp_path, {"": (images, labels)}, ["ant", "bee"])
    write_tar(tmp_path / "cat.tar", [("0.png", to_png(images[0]))])
    (tmp_path / ".cache.tar").touch()
    source, rows, problems = read_all(tmp_path)
    assert source.classes == ("ant", "bee")
    assert len(keys(rows["train"])) == 4
    assert [(problem.item, problem.reason.partition(",")[0]) for problem in problems] == [("cat.tar", "left out")]


def test_labels_in_the_test_folder_mean_the_same_where_it_lacks_a_class(tmp_path):
    images, labels = made_images(4, 2, SIZE)
    parts = {"train": (images, labels), "test": (images[:1], np.array([1]))}
    write_class_folders(tmp_path, parts, ["ant", "bee"])
    source, rows, _ = read_all(tmp_path)
    assert source.classes == ("ant", "bee")
    assert rows["test"][0].labels.tolist() == [1]


def test_a_division_takes_the_same_part_of_every_class_however_rare(tmp_path):
    images, _ = made_images(1, 1, SIZE)
    counts = {"common": 40, "few": 10, "rare": 2, "single": 1}
    labels = np.repeat(np.arange(4), list(counts.values()))
    write_class_folders(tmp_path, {"": (np.repeat(images, len(labels), axis=0), labels)}, list(counts))
    _, rows, _ = read_all(tmp_path, Division(0.2, seed=1))
    tested = np.bincount(np.concatenate([part.labels for part in rows["test"]]), minlength=4)
    trained = np.bincount(np.concatenate([part.labels for part in rows["train"]]), minlength=4)
    assert tested.tolist() == [8, 2, 1, 0]
    assert (tested + trained).tolist() == list(counts.values())
    assert not keys(rows["test"]) & keys(rows["train"])
    _, others, _ = read_all(tmp_path, Division(0.2, seed=2))
    assert keys(others["test"]) != keys(rows["test"])


def test_a_test_folder_is_never_mixed_with_training(tmp_path):
    images, labels = made_images(20, 2, SIZE)
    write_class_folders(tmp_path, {"train": (images, labels), "test": (images, labels)}, ["a", "b"])
    _, rows, _ = read_all(tmp_path, Division(0.5, seed=1))
    assert all(key.startswith("test/") for key in keys(rows["test"]))
    assert len(keys(rows["train"])) == len(keys(rows["test"])) == 20


def test_a_train_folder_alone_is_divided(tmp_path):
    write_class_folders(tmp_path, {"train": made_images(20, 2, SIZE)}, ["a", "b"])
    _, rows, _ = read_all(tmp_path, Division(0.2, seed=1))
    assert len(keys(rows["test"])) == 4


def test_broken_images_are_told_and_left_out_and_grey_ones_counted(tmp_path):
    images, labels = made_images(20, 2, SIZE)
    write_class_folders(tmp_path, {"": (images, labels)}, ["a", "b"])
    good = (tmp_path / "a" / "00000.png").read_bytes()
    (tmp_path / "a" / "00002.png").write_bytes(good[:60])
    (tmp_path / "b" / "00001.png").write_bytes(b"")
    (tmp_path / "b" / "00003.png").write_bytes(to_png(images[3][:1]))
    (tmp_path / "astray.png").write_bytes(good)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.png").write_bytes(good)
    _, rows, problems = read_all(tmp_path)
    assert {problem.item for problem in problems} == {"a/00002.png", "b/00001.png", "astray.png"}
    assert all(problem.reason for problem in problems)
    assert len(keys(rows["train"])) == 18
    assert sum(part.converted for part in rows["train"]) == 1


def test_a_large_folder_becomes_several_items_of_bounded_memory(tmp_path):
    count = FILES_PER_ITEM + 10
    images, labels = made_images(count, 2, (2, 2))
    write_class_folders(tmp_path, {"": (images, labels)}, ["a", "b"])
    source, rows, _ = read_all(tmp_path)
    assert len(source.items) == 2
    assert len(keys(rows["train"])) == count
    storage, wide = find_source(str(tmp_path), (1000, 1000), Division(0, 0))
    first = next(iter(wide.items[0].rows(storage)))
    assert first.images.nbytes <= 16 << 20


def test_wanted_classes_keep_their_labels(tmp_path):
    write_class_folders(tmp_path, {"": made_images(4, 2, SIZE)}, ["bee", "cat"])
    wanted = ("ant", "bee", "cat")
    source, rows, _ = read_all(tmp_path, classes=wanted)
    assert source.classes == wanted
    assert {wanted[label] for part in rows["train"] for label in part.labels} == {"bee", "cat"}
    with pytest.raises(DataError, match="the folders cat are none of the classes ant, bee"):
        read_all(tmp_path, classes=("ant", "bee"))


def test_cifar_refuses_other_classes(tmp_path):
    write_cifar_binary(tmp_path, [made_images(10, 10)], None)
    with pytest.raises(DataError, match=r"airplane.*but a, b are wanted"):
        read_all(tmp_path, classes=("a", "b"))


def test_an_unknown_source_says_what_is_there_and_what_is_supported(tmp_path):
    with pytest.raises(DataError, match=r"(?s)there are no files.*a folder of images for each class"):
        find_source(str(tmp_path / "nowhere"), SIZE, Division(0, 0))
    (tmp_path / "a.csv").write_text("1,2")
    (tmp_path / "b.csv").write_text("3,4")
    with pytest.raises(DataError, match=r"2 files \(2 with \.csv\), such as a\.csv"):
        find_source(str(tmp_path), SIZE, Division(0, 0))
