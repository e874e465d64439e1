"""The example of the README, run as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from echelon.data.manifest import open_dataset
from echelon.data.span import span_batches

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_of_the_readme_trains_evaluates_and_predicts(tmp_path: Path) -> None:
    digits = load_digits()
    pixels = (digits.data / 16).astype("float32").tolist()
    table = pa.table({"pixels": pa.array(pixels, pa.list_(pa.float32())), "digit": digits.target})
    pq.write_table(table, tmp_path / "digits.parquet", row_group_size=300)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(block)

    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=150, env=dict(os.environ)
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert f"rows={len(pixels)}" in done.stdout
    predictions = open_dataset(str(tmp_path / "predictions"))
    (batch,) = span_batches(predictions, "train", None, 0, len(pixels), len(pixels))
    assert batch["row"].tolist() == list(range(len(pixels)))
    right = (batch["predicted"].numpy() == digits.target).mean()
    assert right > 0.95, f"{right:.3f} of the training digits are recognised after 20 epochs"
