"""Training on more than fits its memory: measured from outside, as what the process really takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

BUDGET_MB, SLACK_MB = 32, 16
"""Slack: for batches that are read ahead, a copy of one on its way through the model, and what allocators keep."""
ROW_BYTES, BATCH = 4096, 64

TRAIN = """
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from echelon.sync import AllReduce
from echelon.train.config import RunConfig
from echelon.train.learner import Learner
from echelon.train.worker import Job, train_worker
from echelon.world import World


@dataclass(frozen=True)
class Tiny(Learner):
    def model(self):
        return nn.Linear(8, 1)

    def loss(self, model, batch):
        return model(batch["x"][:, :8].float() / 255).square().sum(), len(batch)

    def optimizer(self, model):
        return torch.optim.SGD(model.parameters(), lr=0.01)


def resident(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if field in line)


def peak(url, run):
    config = RunConfig(batch_size=int(sys.argv[4]), lanes=32, cache_mb=0, memory_mb=int(sys.argv[3]), eval_every="off",
                       checkpoint_every="100steps")
    Path("/proc/self/clear_refs").write_text("5")
    rows = train_worker(World(), None, Job(run, url, Tiny(), AllReduce(), config)).rows
    return rows, resident("VmHWM") / 1024


_, tiny = peak(sys.argv[1], sys.argv[1] + "-run")  # with all that the libraries take
rows, large = peak(sys.argv[2], sys.argv[2] + "-run")
print(rows, large - tiny)
"""


def write(url: Path, rows: int) -> str:
    """Rows that compress well, so that the files are small and what they hold is not."""
    values = np.repeat(np.arange(1024, dtype=np.int64).astype(np.uint8)[:, None], ROW_BYTES, axis=1)
    schema = Schema((Column("x", "uint8", (ROW_BYTES,)),))
    splits = {"train": [{"x": values}] * (rows // 1024)}
    return write_dataset(str(url), schema, splits, shuffle_seed=None, row_group_mb=0.25).url


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
@pytest.mark.slow
def test_training_on_ten_times_its_memory(tmp_path: Path) -> None:
    rows = 10 * BUDGET_MB * (1 << 20) // ROW_BYTES
    command = [sys.executable, "-c", TRAIN, write(tmp_path / "tiny", 1024), write(tmp_path / "large", rows)]
    done = subprocess.run([*command, str(BUDGET_MB), str(BATCH)], check=True, capture_output=True, text=True)
    trained, grown = done.stdout.split()
    assert int(trained) == rows
    assert BUDGET_MB / 4 < float(grown) < BUDGET_MB + SLACK_MB
