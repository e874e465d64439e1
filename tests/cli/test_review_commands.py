"""Reviews from JSON lines to answers, by the commands."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from commands import Echelon

from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches
from echelon.recipes.reviews.made import made_reviews, write_lines, yelp

SMALL = ("--embedding", 8, "--hidden", 6, "--dense", 6, "--batch-size", 40, "--epochs", 2, "--lr", "0.02")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_lines(tmp_path / "raw" / "reviews.jsonl.gz", map(yelp, made_reviews(400, products=60)))
    return tmp_path / "raw"


@pytest.fixture
def run(echelon: Echelon, raw: Path, tmp_path: Path) -> Path:
    """A run of a small network; what it was trained on is gone."""
    prepared = echelon("reviews", "prepare", raw, tmp_path / "dataset", "--length", 50)
    assert prepared.code == 0, prepared.err
    trained = echelon("reviews", "train", tmp_path / "dataset", *SMALL, "--run", tmp_path / "run")
    assert trained.code == 0, trained.err
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert name in trained.out
    shutil.rmtree(tmp_path / "dataset")
    return tmp_path / "run"


def test_a_run_reads_raw_lines_and_single_texts_without_its_dataset(
    echelon: Echelon, run: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (run / "report.html").read_text()
    assert "Confusion matrix" in page
    assert "The worst mistakes" in page
    assert "… and " in page, "the vocabulary is not written out"

    again = echelon("report", run, "--out", tmp_path / "again.html")
    assert again.code == 0
    assert "the report has no sample predictions" in again.err
    page = (tmp_path / "again.html").read_text()
    assert "Confusion matrix" in page, "it was measured by the run itself"
    assert "The worst mistakes" not in page

    others = [yelp(review) for review in made_reviews(70, seed=1)]
    write_lines(tmp_path / "others.jsonl", others)
    evaluated = echelon("reviews", "evaluate", run, tmp_path / "others.jsonl")
    assert evaluated.code == 0, evaluated.err
    assert "70 rows" in evaluated.out
    assert "balanced_accuracy" in evaluated.out
    matrix = [line.split() for line in evaluated.out.splitlines() if line.split()[:1] in (["negative"], ["positive"])]
    assert sum(int(count) for _, *counts in matrix for count in counts) == 70
    predicted = echelon("reviews", "predict", run, tmp_path / "others.jsonl", tmp_path / "out")
    assert predicted.code == 0, predicted.err
    (batch,) = span_batches(open_dataset(str(tmp_path / "out")), "test", None, 0, 70, 70)

    monkeypatch.setattr("echelon.cli.recipe.session", None)
    asked = "".join(f"{line['text']}\n" for line in others)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(asked.encode())))
    answered = echelon("reviews", "predict", run, "-")
    assert answered.code == 0, answered.err
    answers = [json.loads(line) for line in answered.out.splitlines()]
    assert [answer["label"] for answer in answers] == batch.strings("label")
    assert batch.strings("text") == [line["text"] for line in others]
    assert [answer["known"] for answer in answers] == batch["known"].tolist()
    assert [answer["probability"] for answer in answers] == pytest.approx(batch["probability"].tolist(), abs=1e-5)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert echelon("reviews", "predict", run, "-").out == ""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\nxq\n")))
    empty = echelon("reviews", "predict", run, "-").out.splitlines()
    assert [json.loads(line)["known"] for line in empty] == [0, 0], "each line has its answer, which says what it is of"
    nowhere = echelon("reviews", "predict", run, raw)
    assert nowhere.code == 1
    assert "say where the predictions shall go" in nowhere.err


def test_a_recipe_without_single_items_says_so(echelon: Echelon, tmp_path: Path) -> None:
    refused = echelon("images", "predict", tmp_path, "-")
    assert refused.code == 1
    assert "ImagesRecipe predicts nothing from the standard input" in refused.err
    help_of_reviews = echelon("reviews", "predict", "--help").out.replace("│", " ")
    assert "each line is a review" in " ".join(help_of_reviews.split())
    assert "standard input, of which" not in echelon("images", "predict", "--help").out
