"""The demo, which is what a newcomer sees first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Echelon


def test_the_demo_takes_real_digits_from_raw_files_to_predictions(echelon: Echelon, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = echelon("demo", "--folder", folder)
    assert done.code == 0, done.err
    assert len(list((folder / "raw").rglob("*.png"))) == 1797
    for name in ("allreduce", "averaging"):
        results = json.loads((folder / "runs" / name / "results.json").read_text())
        assert (results["state"], results["workers"]) == ("finished", 2)
        assert results["metrics"]["accuracy"] > 0.85 > 5 * results["baseline"]["accuracy"]
        assert str(folder / "runs" / name / "report.html") in done.err
        assert (folder / "runs" / name / "report.html").exists()
    assert (folder / "compare.html").exists()
    manifest = json.loads((folder / "predictions" / "_manifest.json").read_text())
    assert (
        sum(rows for files in manifest["splits"].values() for file in files for rows, _ in file["row_groups"]) == 1797
    )

    again = echelon("demo", "--folder", folder)
    assert again.code == 1
    assert "exists already" in again.err


@pytest.mark.slow
def test_the_demo_of_reviews_learns_what_they_say(echelon: Echelon, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = echelon("demo", "reviews", "--folder", folder)
    assert done.code == 0, done.err
    for name in ("allreduce", "averaging"):
        results = json.loads((folder / "runs" / name / "results.json").read_text())
        assert results["metrics"]["balanced_accuracy"] > 0.75 > 0.2 + results["baseline"]["balanced_accuracy"]
        assert "The worst mistakes" in (folder / "runs" / name / "report.html").read_text()
    assert (folder / "predictions" / "_manifest.json").exists()


def test_an_unknown_recipe_is_answered_with_those_that_exist(echelon: Echelon, tmp_path: Path) -> None:
    done = echelon("demo", "paintings", "--folder", tmp_path / "demo")
    assert done.code == 1
    assert "images" in done.err
