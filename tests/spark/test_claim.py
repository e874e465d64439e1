"""How tasks of one host divide its GPUs among themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from echelon.errors import EchelonError
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


def test_a_link_that_somebody_has_put_there_empties_no_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("of the user")
    place = tmp_path / "locks"
    place.mkdir(mode=0o700)
    (place / "GPU-a-0").symlink_to(precious)
    with pytest.raises(EchelonError, match="locks"), claimed(NAMES, place):
        pass
    assert precious.read_text() == "of the user"


@pytest.mark.parametrize("planted", ["link", "open to all", "file"])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, planted: str) -> None:
    place, own = tmp_path / "locks", tmp_path / "own"
    own.mkdir(mode=0o700)
    if planted == "link":
        place.symlink_to(own)
    elif planted == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(EchelonError, match="TMPDIR"), claimed(NAMES, place):
        pass
    assert not list(own.iterdir())


def test_no_gpu_is_an_error_and_no_endless_search(tmp_path: Path) -> None:
    with pytest.raises(EchelonError, match="no GPU"), claimed([], tmp_path):
        pass
