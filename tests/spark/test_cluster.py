"""A real standalone cluster: two executors, each a host of its own as far as Spark knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import standalone_cluster


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_executors_train_and_survive_the_death_of_one(tmp_path: Path) -> None:
    with standalone_cluster(tmp_path, workers=2) as master:
        command = [sys.executable, str(Path(__file__).with_name("on_cluster.py")), master, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["executors"] == 2
    assert "cannot see what the driver wrote in /proc/self/cwd" in seen["unshared"]
    assert seen["tasks"] == ["a", "b", "c"]
    assert any("does not authenticate" in warning for warning in seen["warnings"])
    # The executor's Java was killed together with its Python worker.
    assert seen["attempts"] == 2
    assert seen["steps"] == 60
    (first, from_start), (second, resumed) = seen["starts"]
    assert (first, from_start, second) == (1, 0, 2)
    assert 10 <= resumed <= 30
    assert "rank" in seen["causes"][0]
    # On an idle machine the first launch, which imports torch too, takes 5 s: on a busy one it says how slow all is.
    assert seen["seconds"] < max(10, 2 * seen["cold launch"])
