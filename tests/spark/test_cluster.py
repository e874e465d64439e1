"""A real standalone cluster: two executors, each a host of its own as far as Spark knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import standalone_cluster


def drive(folder: Path, reach: int) -> dict[str, Any]:
    """What on_cluster.py saw."""
    with standalone_cluster(folder, workers=2) as master:
        script = Path(__file__).with_name("on_cluster.py")
        command = [sys.executable, str(script), master, str(folder), str(reach)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_executors_train_and_survive_the_death_of_one(tmp_path: Path) -> None:
    seen = drive(tmp_path, reach=1)
    assert seen["executors"] == 2
    assert "cannot see what the driver wrote in /proc/self/cwd" in seen["unshared"]
    assert seen["tasks"] == ["a", "b", "c"]
    assert any("does not authenticate" in warning for warning in seen["warnings"])
    # The executor's Java was killed together with its Python worker.
    assert seen["attempts"] == 2
    assert seen["steps"] == 60
    (first, from_start, _), (second, resumed, workers) = seen["starts"]
    assert (first, from_start, second, workers) == (1, 0, 2, 2)
    assert 10 <= resumed <= 30
    assert "rank" in seen["causes"][0]
    # The first launch, which imports torch too, says how slow all is: a new executor's Java starts here as well.
    assert seen["seconds"] < max(10, 3 * seen["cold launch"])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_when_a_host_is_gone_for_good_the_others_go_on(tmp_path: Path) -> None:
    seen = drive(tmp_path, reach=2)
    assert seen["steps"] == 60
    attempt, resumed, workers = seen["starts"][-1]
    assert attempt > 1
    assert 10 <= resumed <= 30
    assert workers == seen["workers"] == 1
    assert seen["causes"][-1].endswith("going on with 1 of 2 workers")
