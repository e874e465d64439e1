"""The same commands from and to S3, under torchrun and under spark-submit, each as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import CLASSES

import echelon.__main__
from echelon.data.schema import Column, Schema
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset
from echelon.recipes.images.made import made_images, write_class_folders
from echelon.spark.jvm import find_java
from echelon.train.run import RunFolder

MAIN = str(Path(echelon.__main__.__file__))
FAST = ("--pad", "0", "--no-mirror", "--batch-size", "30", "--epochs", "2")


def run(*command: str, folder: Path, **environment: str) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.slow
def test_from_raw_files_to_predictions_on_s3(s3: str, tmp_path: Path) -> None:
    home = f"{s3}/launchers"
    parts = {"train": made_images(60, 3, (8, 8)), "test": made_images(9, 3, (8, 8))}
    write_class_folders(tmp_path / "raw", parts, CLASSES)
    raw = open_storage(f"{home}/raw")
    for path in (tmp_path / "raw").rglob("*.png"):
        raw.write(str(path.relative_to(tmp_path / "raw")), path.read_bytes())

    # One process for all three commands, as they would follow each other in a script: Spark starts once.
    commands = [
        ["prepare", f"{home}/raw", f"{home}/dataset", "--size", "8x8"],
        ["train", f"{home}/dataset", "--workers", "2", "--strategy", "averaging", "--run", f"{home}/run", *FAST],
        ["predict", f"{home}/run", f"{home}/dataset", f"{home}/predictions", "--workers", "2"],
    ]
    script = "import sys; from echelon.cli.app import build\nfor command in eval(sys.argv[1]):\n"
    script += "    build(['images'])(['images', *command], standalone_mode=False)"
    run(sys.executable, "-c", script, repr(commands), folder=tmp_path)

    folder = RunFolder(f"{home}/run")
    assert folder.results["state"] == "finished"
    assert folder.results["rows"] == 120
    files = {entry.path for entry in folder.storage.list()}
    assert {"train.log", "report.html", "results.json", "config.json"} <= files
    manifest = open_storage(f"{home}/predictions").read_json("_manifest.json")
    assert sum(rows for files in manifest["splits"].values() for file in files for rows, _ in file["row_groups"]) == 69
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}, "nothing is written here"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dataset of 8×8 images as `prepare` would write it."""
    splits = {}
    for split, rows in (("train", 60), ("test", 9)):
        images, labels = made_images(rows, 3, (8, 8))
        splits[split] = [{"image": images, "label": labels, "key": [f"{split}/{i}" for i in range(rows)]}]
    schema = Schema((Column("image", "uint8", (3, 8, 8)), Column("label", "int64"), Column("key", "string")))
    counts = {split: dict.fromkeys(CLASSES, len(splits[split][0]["key"]) // 3) for split in splits}
    write_dataset(
        str(tmp_path / "dataset"),
        schema,
        splits,
        info={"classes": CLASSES, "counts": counts},
        assets={"mean": np.full((3, 8, 8), 127, np.float32)},
    )
    return tmp_path / "dataset"


def test_python_m_echelon_under_torchrun(small: Path, tmp_path: Path) -> None:
    told = run(
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "echelon", "--", "images", "train", str(small), "--run", "run", *FAST),
        folder=tmp_path,
        OMP_NUM_THREADS="1",
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["state"], results["workers"], results["rows"]) == ("finished", 2, 120)
    assert told.count("rows per second") == 1, "one of the two processes tells the result"


def test_under_spark_submit(small: Path, tmp_path: Path) -> None:
    submit = str(Path(sys.executable).parent / "spark-submit")
    run(
        *(submit, "--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", "spark.driver.host=127.0.0.1"),
        *(MAIN, "images", "train", str(small), "--workers", "2", "--run", "run", *FAST),
        folder=tmp_path,
        JAVA_HOME=str(find_java().home),
        PYSPARK_PYTHON=sys.executable,
        SPARK_LOCAL_IP="127.0.0.1",
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["state"], results["workers"], results["rows"]) == ("finished", 2, 120)
