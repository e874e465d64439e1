"""The command line on a real standalone cluster, with paths relative to where it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import standalone_cluster

from echelon.data.manifest import open_dataset
from echelon.recipes.images.made import made_images, write_class_folders


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_images_train_and_predict_on_a_cluster(tmp_path: Path) -> None:
    parts = {"train": made_images(60, 3, (8, 8)), "test": made_images(9, 3, (8, 8))}
    write_class_folders(tmp_path / "raw", parts, ["cat", "dog", "eel"])

    def images(*arguments: str) -> str:
        command = [sys.executable, "-m", "echelon", "images", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stderr

    images("prepare", "raw", "dataset", "--size", "8x8")
    with standalone_cluster(tmp_path, workers=2) as master:
        cluster = ("--workers", "2", "--master", master, "--conf", "spark.driver.memory=600m")
        few = ("--pad", "0", "--no-mirror", "--batch-size", "30", "--epochs", "2")
        told = images("train", "dataset", "--run", "runs/first", *few, *cluster)
        images("predict", "runs/first", "dataset", "predictions", *cluster)
    assert "incubator" not in told
    results = json.loads((tmp_path / "runs/first/results.json").read_text())
    assert (results["state"], results["workers"], results["rows"]) == ("finished", 2, 120)
    predictions = open_dataset(str(tmp_path / "predictions"))
    assert sum(map(predictions.rows, predictions.splits)) == 69
