"""The command line in this process, so that all tests share one Spark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import CLASSES, Done, Echelon

from echelon.cli import app
from echelon.cli.console import ERR, OUT
from echelon.recipes.images.made import made_images, write_class_folders

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def echelon(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Echelon:
    """Runs `echelon ARGUMENTS…` in a wide terminal."""
    monkeypatch.setattr(OUT, "width", 200)
    monkeypatch.setattr(ERR, "width", 200)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["echelon", *map(str, arguments)])
        capfd.readouterr()
        try:
            app.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        told = capfd.readouterr()
        return Done(code, told.out, told.err)

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 90 training and 31 test images, 8×8."""
    folder = tmp_path_factory.mktemp("pictures")
    parts = {"train": made_images(90, 3, (8, 8), seed=1), "test": made_images(31, 3, (8, 8), seed=2)}
    write_class_folders(folder, parts, CLASSES)
    return folder
