"""`fit` in the processes that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_fit import parquet

SCRIPT = Path(__file__).with_name("torchrun_fit.py")


def torchrun(folder: Path, how: str, restarts: int) -> subprocess.CompletedProcess[str]:
    source = parquet(folder / "points.parquet", 200)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               f"--max-restarts={restarts}", "--monitor-interval=0.1", SCRIPT, source, folder / "run", how]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=150)


@pytest.mark.slow
def test_a_killed_rank_is_restarted_and_the_same_command_goes_on(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "kill", restarts=1)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["state"], results["attempts"], results["workers"]) == ("finished", 2, 2)
    assert (results["steps"], results["rows"]) == (20, 400)
    told = [(tmp_path / "run" / f"rank-{rank}.txt").read_text() for rank in (0, 1)]
    assert told[0] == told[1]


@pytest.mark.slow
def test_the_cause_of_a_failure_is_the_first_one(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "raise", restarts=0)
    assert done.returncode != 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["state"] == "failed"
    assert "the user's own fault" in results["error"], "and not that a connection was lost"
