"""Photographs to breeds, by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Echelon

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.pets.made import BREEDS, made_photograph, write_pets

EACH = 8


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pets") / "images"
    write_pets(folder, each=EACH)
    return folder


def test_from_photographs_to_breeds(
    echelon: Echelon,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset, run = tmp_path / "dataset", tmp_path / "run"
    prepared = echelon("pets", "prepare", photographs, dataset, "--model", "squeezenet", "--weights", "random")
    assert prepared.code == 0, prepared.err

    # From here on nothing may start Spark.
    monkeypatch.setattr("echelon.cli.recipe.session", None)
    trained = echelon("pets", "train", dataset, "--run", run, "--test-fraction", "0.5")
    assert trained.code == 0, trained.err
    assert "fewer than 20 test images" in caplog.text
    _check_results(run)
    page = (run / "report.html").read_text()
    for shown in ("Confusion matrix", "Each by itself", "Some test images", "data:image/jpeg;base64,"):
        assert shown in page
    for command in (("runs", tmp_path), ("report", run), ("compare", run, "--out", tmp_path / "compare.html")):
        assert echelon(*command).code == 0, command

    sheet = echelon("pets", "contact-sheet", run)
    assert sheet.code == 0, sheet.err
    page = (run / "contact-sheet.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(BREEDS) * EACH / 2
    for breed in BREEDS:
        assert f"{breed}: " in page

    refused = echelon("pets", "evaluate", run, dataset)
    assert refused.code == 1
    assert "holds images of the training, 16 of 32" in refused.err
    for flags, told in ((("--epochs", "3", "--seed", "1"), "--epochs: of no effect"),
                        (("--schedule", "poly"), "--schedule does nothing with --solver memory"),
                        (("--solver", "steps", "--iterations", "5"), "--iterations does nothing")):  # fmt: skip
        idle = echelon("pets", "train", dataset, "--run", tmp_path / "idle", *flags)
        assert idle.code == 1
        assert told in idle.err
    assert echelon("pets", "evaluate", run, run / "dataset").code == 0
    _check_predictions(echelon, run, tmp_path, caplog)


def _check_results(run: Path) -> None:
    results, text = json.loads((run / "results.json").read_text()), (run / "results.txt").read_text()
    rows = len(BREEDS) * EACH // 2
    assert sum(map(sum, results["confusion"])) == rows
    right = sum(row[at] for at, row in enumerate(results["confusion"]))
    assert results["metrics"]["accuracy"] == pytest.approx(right / rows)
    low, high = results["intervals"]["accuracy"]
    assert low < right / rows <= high
    assert results["each"]["Bull"]["rows"] == EACH // 2
    assert results["each"]["Bull"]["always_negative"] == 0.75
    assert "warning: fewer than 20 test images" in text
    assert "always no" in text
    assert f"{results['metrics']['accuracy']:.3f}" in text


def _check_predictions(echelon: Echelon, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, breed in enumerate(BREEDS):
        (tmp_path / f"{breed}.jpg").write_bytes(made_photograph(number, (0, 1)))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8")
    said = echelon("pets", "predict", run, *(tmp_path / f"{breed}.jpg" for breed in BREEDS))
    assert said.code == 0, said.err
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["item"] for answer in answers] == [str(tmp_path / f"{breed}.jpg") for breed in BREEDS]
    # They are among the images that were trained on or tested.
    assert sum(answer["breed"] == breed for answer, breed in zip(answers, BREEDS, strict=True)) >= 3
    for answer in answers:
        assert answer["breed"] == max(answer["scores"], key=answer["scores"].get)

    partly = echelon("pets", "predict", run, tmp_path / "broken.jpg", tmp_path / "Bull.jpg", tmp_path / "gone.jpg")
    assert partly.code == 1
    assert [json.loads(line)["item"] for line in partly.out.splitlines()] == [str(tmp_path / "Bull.jpg")]
    assert "broken.jpg is left out" in caplog.text
    assert "gone.jpg is left out" in caplog.text
    assert "2 of 3 files could not be read" in partly.err
    assert json.loads(partly.out)["scores"] == answers[0]["scores"]


def test_the_curve_is_drawn_with_its_numbers(echelon: Echelon, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = (random.normal(0, 1, (3, 30))[labels] + random.normal(0, 2, (120, 30))).astype(np.float32)
    keys = [f"{'ABC'[label]}_{row}.jpg" for row, label in enumerate(labels.tolist())]
    schema = Schema((Column("features", "float32", (30,)), Column("label", "int64"), Column("key", "string")))
    info = {"classes": list("ABC"), "counts": {"all": dict.fromkeys("ABC", 40)}}
    rows = {"features": features, "label": labels, "key": keys}
    write_dataset(str(tmp_path / "dataset"), schema, {"all": [rows]}, info=info)

    drawn = echelon("pets", "curve", tmp_path / "dataset", tmp_path / "curve", "--seeds", 3, "--sizes", "5,10,28")
    assert drawn.code == 0, drawn.err
    told = json.loads((tmp_path / "curve" / "curve.json").read_text())
    assert len(told["points"]) == 9
    means = {row["size"]: row["mean"] for row in told["curves"]["accuracy"]}
    assert list(means) == [5, 10, 28]
    assert means[5] < means[28]
    assert all(point["baseline"]["accuracy"] == pytest.approx(1 / 3) for point in told["points"])
    with open(tmp_path / "curve" / "curve.csv") as file:
        assert len(list(csv.DictReader(file))) == 9
    assert (tmp_path / "curve" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "curve" / "curve.pdf").read_bytes().startswith(b"%PDF")

    too_many = echelon("pets", "curve", tmp_path / "dataset", tmp_path / "again", "--sizes", "5,29")
    assert too_many.code == 1
    assert "--sizes must be from 1 to 28" in too_many.err
