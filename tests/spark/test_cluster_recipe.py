"""A user's own recipe on a real standalone cluster whose workers have not installed it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import standalone_cluster

from echelon.data.manifest import open_dataset

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tables.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_recipe_in_one_file_is_sent_along(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    lines = [f"{x},{x % 7},{'even' if x % 2 else 'odd'}" for x in range(200)]
    (tmp_path / "numbers.csv").write_text("\n".join(["x,remainder,label", *lines]))
    with standalone_cluster(tmp_path, workers=2) as master:

        def tables(*arguments: str, sent: bool = True) -> subprocess.CompletedProcess[str]:
            cluster = ["--workers", "2", "--master", master, "--conf", "spark.driver.memory=600m"]
            along = ["--conf", "spark.submit.pyFiles=tables.py"] if sent else []
            command = [sys.executable, "-m", "echelon", "tables:RECIPE", *arguments, *cluster, *along]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)

        refused = tables("prepare", "numbers.csv", "dataset", sent=False)
        assert refused.returncode == 1
        assert "No module named 'tables'" in refused.stderr
        for command in (
            ("prepare", "numbers.csv", "dataset"),
            ("train", "dataset", "--epochs", "2", "--run", "run"),
            ("predict", "run", "dataset", "predictions"),
        ):
            done = tables(*command)
            assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    predictions = open_dataset(str(tmp_path / "predictions"))
    assert sum(map(predictions.rows, predictions.splits)) == 200
