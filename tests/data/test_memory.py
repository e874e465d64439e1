"""Reading for training stays within its budget, measured from outside as what the process really takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

BUDGET_MB = 32

READ_EPOCHS = """
import sys
from pathlib import Path

from echelon.data.loader import Loader, Position
from echelon.data.manifest import open_dataset


def resident(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if field in line)


def read_an_epoch(url):
    loader = Loader(open_dataset(url), "train", batch_size=64, lanes=18, seed=0, share=range(18), cache_mb=0,
                    budget_mb=int(sys.argv[3]), readers=int(sys.argv[4]))
    return sum(len(batch) for _, batch in loader.batches(Position(0, 0), 1))


read_an_epoch(sys.argv[1])  # what the libraries take when they are used for the first time is not the loader's
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
print(read_an_epoch(sys.argv[2]), (resident("VmHWM") - before) / 1024)
"""


def write(url: str, rows: int, ragged: bool) -> str:
    """Rows of 4 kB that compress well, so that the files are small and what they hold is not."""
    schema = Schema((Column("x", "uint8", (None,) if ragged else (4096,)), Column("label", "int64")))
    batch = {
        "x": np.repeat(np.arange(1024, dtype=np.int64).astype(np.uint8)[:, None], 4096, axis=1),
        "label": np.arange(1024),
    }
    write_dataset(url, schema, {"train": [batch] * (rows // 1024)}, shuffle_seed=None, row_group_mb=0.25)
    return url


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
@pytest.mark.parametrize(("ragged", "readers"), [(False, 1), (True, 2)])
def test_an_epoch_over_ten_times_the_budget(tmp_path: Path, ragged: bool, readers: int) -> None:
    rows = BUDGET_MB * 10 * 256
    small, large = write(str(tmp_path / "small"), 1024, ragged), write(str(tmp_path / "large"), rows, ragged)
    command = [sys.executable, "-c", READ_EPOCHS, small, large, str(BUDGET_MB), str(readers)]
    read, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(read) == rows
    assert BUDGET_MB / 3 < float(grown) < BUDGET_MB
