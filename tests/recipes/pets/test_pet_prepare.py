"""From image files to a dataset of features, by real tasks of Spark."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from echelon.data.commit import RECEIPTS
from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.pets import extract as extract_module
from echelon.recipes.pets import prepare as prepare_module
from echelon.recipes.pets.columns import ALL, FEATURES, KEY, LABEL, described
from echelon.recipes.pets.made import BREEDS, made_photograph, write_pets
from echelon.recipes.pets.networks.choice import network_of, random_weights
from echelon.recipes.pets.networks.extractor import Extractor
from echelon.recipes.pets.options import Fitting, PrepareOptions
from echelon.recipes.pets.prepare import prepare
from echelon.recipes.pixels.decode import decode

OPTIONS = PrepareOptions(model="squeezenet", weights="random")
BROKEN = {
    "Bull_901.jpg": (b"", "empty"),
    "Bull_902.jpg": (made_photograph(0, (0, 1))[:2000], "truncated"),
    "Bull_903.jpg": (b"\xff\xd8 no image", "cannot identify"),
}


def image_file(mode, format):
    file = io.BytesIO()
    Image.open(io.BytesIO(made_photograph(1, (5, 5)))).convert(mode).save(file, format=format)
    return file.getvalue()


OTHERS = {
    "Pit_Bull_801.jpg": image_file("L", "JPEG"),
    "Pit_Bull_802.jpg": image_file("CMYK", "JPEG"),
    "Pit_Bull_803.jpg": image_file("P", "GIF"),
}


def rows(dataset):
    (batch,) = span_batches(dataset, ALL, None, 0, dataset.rows(ALL), dataset.rows(ALL))
    features, labels = batch[FEATURES].numpy(), batch[LABEL].tolist()
    return {key: (features[row], labels[row]) for row, key in enumerate(batch.strings(KEY))}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets") / "images"
    write_pets(folder, each=10)
    for name, content in {**OTHERS, **{name: content for name, (content, _) in BROKEN.items()}}.items():
        (folder / name).write_bytes(content)
    (folder / "portrait.jpg").write_bytes(made_photograph(0, (1, 1)))
    return folder


@pytest.fixture(scope="module")
def prepared(spark, photographs, tmp_path_factory):
    """The dataset, with its JSON files; the driver itself could have read not one image."""
    home = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(extract_module, "decode", refuse)
        read = Storage.read
        patched.setattr(Storage, "read", lambda self, path: refuse() if ".jpg" in path else read(self, path))
        options = PrepareOptions(model="squeezenet", weights="random", json=str(home / "json"))
        prepare(spark, str(photographs), str(home / "dataset"), options)
    return home


def refuse(*arguments):
    raise AssertionError("the driver reads or decodes images itself")


def test_every_image_has_the_features_of_its_own_file_and_its_breed(prepared, photographs):
    """Traps 17 and 25: tasks read and compute, and no feature is another's."""
    dataset = open_dataset(str(prepared / "dataset"))
    found = rows(dataset)
    assert dataset.splits == (ALL,)
    assert dataset.info["classes"] == sorted(BREEDS)
    assert set(found) == {f"{breed}_{number}.jpg" for breed in BREEDS for number in range(1, 11)}
    plain = network_of("squeezenet", random_weights("squeezenet"))
    for key in sorted(found)[::5]:
        features, label = found[key]
        assert dataset.info["classes"][label] == key.rpartition("_")[0]
        seen = decode((photographs / key).read_bytes(), (plain.side, plain.side))[0]
        with torch.inference_mode():
            wanted = sum(plain(torch.from_numpy(side.copy())[None])[0] for side in (seen, seen[:, :, ::-1])) / 2
        np.testing.assert_allclose(features, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert len({features.tobytes() for features, _ in found.values()}) == 40


def test_what_is_left_out_is_told_with_its_reason(prepared):
    info = open_dataset(str(prepared / "dataset")).info
    reasons = dict(info["problems"]["first"])
    assert info["problems"]["count"] == 7
    assert set(reasons) == {*BROKEN, *OTHERS, "portrait.jpg"}
    for name, (_, reason) in BROKEN.items():
        assert reason in reasons[name]
    assert all("not RGB" in reasons[name] for name in OTHERS)
    assert "breed is unknown" in reasons["portrait.jpg"]
    assert info["counts"] == {ALL: dict.fromkeys(sorted(BREEDS), 10)}


def test_the_dataset_keeps_the_network_that_made_it(prepared):
    dataset = open_dataset(str(prepared / "dataset"))
    what = described(dataset)
    assert what.extractor is not None
    assert what.classes == tuple(sorted(BREEDS))
    assert (what.extractor.weights() == random_weights("squeezenet")).all()
    other = Extractor("squeezenet", dataset.url, what.extractor.path, "0" * 64)
    with pytest.raises(DataError, match="not those of the features"):
        other.weights()


def test_json_files_hold_the_same_numbers_and_are_a_source_themselves(prepared, spark, tmp_path):
    found = rows(open_dataset(str(prepared / "dataset")))
    files = sorted((prepared / "json").iterdir())
    assert [file.name for file in files] == sorted(key.replace(".jpg", ".json") for key in found)
    values = json.loads(files[0].read_bytes())
    assert (np.array(values, np.float32) == found[files[0].stem + ".jpg"][0]).all()
    broken = prepared / "json" / "Bull_999.json"
    broken.write_text(json.dumps(values[:-1]))
    again = prepare(spark, str(prepared / "json"), str(tmp_path / "again"), PrepareOptions())
    broken.unlink()
    assert described(again).extractor is None
    assert again.info["problems"]["first"] == [["Bull_999.json", "it holds 4,095 numbers, the first file 4,096"]]
    for key, (features, label) in rows(again).items():
        wanted = found[key.replace(".json", ".jpg")]
        assert (features == wanted[0]).all()
        assert label == wanted[1]


def test_images_for_a_trained_model_are_converted_and_keep_its_labels_and_its_network(prepared, spark, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    for name, content in {
        **OTHERS,
        "who.png": made_photograph(0, (9, 9)),
        "Boxer_1.jpg": BROKEN["Bull_901.jpg"][0],
    }.items():
        (folder / name).write_bytes(content)
    what = described(open_dataset(str(prepared / "dataset")))
    fitting = Fitting(("Sphynx", "Pit_Bull"), what.features, what.extractor)
    made = prepare(spark, str(folder), str(tmp_path / "made"), PrepareOptions(model="vgg16"), fitting=fitting)
    assert {key: label for key, (_, label) in rows(made).items()} == {**dict.fromkeys(OTHERS, 1), "who.png": -1}
    assert made.info["model"] == "squeezenet"
    assert made.info["converted"] == 3
    assert made.info["unlabelled"] == 1
    assert not made.manifest.assets


def test_a_model_that_was_trained_on_json_takes_no_images(photographs, spark, tmp_path):
    with pytest.raises(DataError, match="give JSON files"):
        prepare(spark, str(photographs), str(tmp_path / "d"), OPTIONS, fitting=Fitting(("Bull",), 4096, None))


def test_two_images_are_never_one_json_file(spark, tmp_path):
    write_pets(tmp_path / "raw", each=1)
    (tmp_path / "raw" / "Bull_1.png").write_bytes(image_file("RGB", "PNG"))
    options = PrepareOptions(model="squeezenet", weights="random", json=str(tmp_path / "json"))
    with pytest.raises(DataError, match=r"2 images would be Bull_1\.json"):
        prepare(spark, str(tmp_path / "raw"), str(tmp_path / "dataset"), options)


def test_json_files_of_other_features_are_not_replaced_unasked(prepared, photographs, spark, tmp_path):
    options = PrepareOptions(model="squeezenet", weights="random", json=str(prepared / "json"))
    with pytest.raises(DataError, match=r"40 of these files are there already, such as Bull_1\.json.*--overwrite"):
        prepare(spark, str(photographs), str(tmp_path / "dataset"), options)


@pytest.mark.parametrize(
    "wrong",
    [{"model": "vgg19"}, {"scaling": "none"}, {"precision": "fp8"}, {"batch_size": 0}, {"weights": ""}, {"json": ""}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(Exception, match=f"--{name.replace('_', '-')}"):
        PrepareOptions(**wrong)


def test_a_killed_prepare_goes_on_where_it_was(prepared, photographs, spark, tmp_path, monkeypatch):
    """The parts that were written before an interrupt stay as they are; the whole is what it would have been."""
    folder = tmp_path / "dataset"
    monkeypatch.setattr(prepare_module, "_LEAST_A_PART", 1)

    def interrupt(tasks):
        if len(receipts(folder)) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(spark, str(photographs), str(folder), OPTIONS, on_progress=interrupt)
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(folder))
    written = {path for path in folder.glob("split=all/*") if path.stem in receipts(folder)}
    before = {path: path.stat().st_mtime_ns for path in written}
    resumed = PrepareOptions(model="squeezenet", weights="random", resume=True)
    dataset = prepare(spark, str(photographs), str(folder), resumed)
    assert len(before) >= 2
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    wanted, found = rows(open_dataset(str(prepared / "dataset"))), rows(dataset)
    assert wanted.keys() == found.keys()
    for key, (features, _) in wanted.items():
        np.testing.assert_allclose(found[key][0], features, rtol=1e-4, atol=1e-4)
    assert dataset.info["problems"]["count"] == 7


def receipts(folder):
    """The parts that are known to be whole."""
    return {path.stem for path in (folder / RECEIPTS).rglob("part-*.arrow")}
