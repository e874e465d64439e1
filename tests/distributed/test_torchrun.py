"""Workers that torchrun starts, and starts again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gang import Training, train
from strategy_table import assert_same
from test_recovery import CONFIG, LEARNER

from echelon.data.manifest import Dataset
from echelon.sync import AllReduce
from echelon.train.learner import describe


@pytest.mark.slow
def test_torchrun_trains_and_a_restart_goes_on(tmp_path: Path, dataset: Dataset) -> None:
    """To the same bits as the same two workers that nobody killed."""
    training = Training(tmp_path, dataset, LEARNER, CONFIG)
    parts = {"learner": LEARNER, "strategy": AllReduce(), "config": CONFIG}
    (tmp_path / "asked.json").write_text(json.dumps({name: describe(part) for name, part in parts.items()}))
    script = str(Path(__file__).with_name("torchrun_script.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1",
               "--monitor-interval=0.1", script, str(tmp_path), dataset.url]  # fmt: skip
    done = subprocess.run(
        command, timeout=120, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [json.loads((tmp_path / f"progress-{rank}.json").read_text()) for rank in (0, 1)] == [[2, 18]] * 2
    assert training.run.asked["workers"] == 2
    assert training.events("start")[-1]["step"] == 4
    assert_same(training.tensors(), train(tmp_path / "whole", dataset, LEARNER, CONFIG).tensors())
