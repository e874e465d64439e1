"""How tasks of one host divide its GPUs among themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from echelon.spark.claim import claimed

NAMES = ["GPU-a", "GPU-b", "GPU-c"]

HOLD = """
import sys, time
from pathlib import Path
from echelon.spark.claim import claimed
with claimed(sys.argv[2:], Path(sys.argv[1])) as index:
    print(index, flush=True)
    time.sleep(60)
"""


def test_tasks_are_spread_evenly(tmp_path: Path) -> None:
    with ExitStack() as tasks:
        first = [tasks.enter_context(claimed(NAMES, tmp_path)) for _ in NAMES]
        assert sorted(first) == [0, 1, 2]
        counts = Counter(first + [tasks.enter_context(claimed(NAMES, tmp_path)) for _ in range(4)])
        assert sorted(counts.values()) == [2, 2, 3]


def test_what_is_given_back_is_taken_next(tmp_path: Path) -> None:
    with claimed(NAMES, tmp_path) as first:
        with claimed(NAMES, tmp_path) as second, claimed(NAMES, tmp_path) as third:
            assert {first, second, third} == {0, 1, 2}
        with claimed(NAMES, tmp_path) as again:
            assert again == second


def test_a_killed_task_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), *NAMES], stdout=subprocess.PIPE, text=True
    ) as task:
        assert task.stdout is not None
        held = int(task.stdout.readline())
        with claimed(NAMES, tmp_path) as other:
            assert other != held
        os.kill(task.pid, signal.SIGKILL)
        task.wait(20)
    with claimed(NAMES, tmp_path) as again:
        assert again == held
