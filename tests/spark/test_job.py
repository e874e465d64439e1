"""Plain functions over items, in real tasks."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from echelon.errors import CommunicationError, EchelonError, StorageError
from echelon.spark.background import Tasks
from echelon.spark.failure import WorkerFailed
from echelon.spark.job import run_tasks
from echelon.spark.watching import watched

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_results_come_in_the_order_of_the_items(spark: SparkSession) -> None:
    seen: list[Tasks] = []
    items = ["a", "bb", "", "dddd", "eee", "f"]
    assert run_tasks(spark, str.encode, items, on_progress=seen.append) == [item.encode() for item in items]
    assert run_tasks(spark, str.encode, items, partitions=2) == [item.encode() for item in items]
    assert all(tasks.done <= tasks.planned for tasks in seen)
    assert run_tasks(spark, str.encode, []) == []


def test_whoever_watches_is_told_of_jobs_that_tell_nobody_else(spark: SparkSession) -> None:
    def work(item: int) -> bytes:
        time.sleep(0.3)
        return b""

    seen: list[Tasks] = []
    told: list[Tasks] = []
    with watched(seen.append):
        run_tasks(spark, work, range(4))
        watched_until_here = len(seen)
        run_tasks(spark, work, range(2), on_progress=told.append)
    run_tasks(spark, work, range(2))
    assert max(tasks.planned for tasks in seen) == 4
    assert told
    assert len(seen) == watched_until_here


def test_progress_that_cannot_be_shown_does_not_stop_a_job(spark: SparkSession) -> None:
    def refuse(tasks: Tasks) -> None:
        raise OSError("the terminal is gone")

    assert run_tasks(spark, str.encode, ["a", "b"], on_progress=refuse) == [b"a", b"b"]


def test_the_functions_own_error_ends_the_job_and_is_not_tried_again(spark: SparkSession, tmp_path: Path) -> None:
    def work(item: int) -> bytes:
        (tmp_path / f"{item}-{time.monotonic_ns()}").touch()
        if item == 1:
            raise LookupError("not in the table")
        time.sleep(0.5)
        return b""

    with pytest.raises(WorkerFailed, match=r"item 1 on .* failed: LookupError: not in the table"):
        run_tasks(spark, work, range(40))
    calls = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert calls.count("1") == 1
    assert len(calls) < 20


def test_a_killed_process_and_a_storage_that_fails_are_tried_again(spark: SparkSession, tmp_path: Path) -> None:
    def once(name: str) -> bool:
        try:
            (tmp_path / name).touch(exist_ok=False)
            return True
        except FileExistsError:
            return False

    def work(item: int) -> bytes:
        if item == 1 and once("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 2 and once("failed"):
            raise StorageError("for a moment")
        return str(item).encode()

    assert run_tasks(spark, work, range(4)) == [b"0", b"1", b"2", b"3"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_what_keeps_failing_is_given_up_with_its_cause(spark: SparkSession) -> None:
    def full(item: int) -> bytes:
        raise StorageError("no space left on s3://somewhere")

    with pytest.raises(StorageError, match="no space left on s3://somewhere"):
        run_tasks(spark, full, [1])

    def deadly(item: int) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with pytest.raises(CommunicationError, match="Python worker exited unexpectedly"):
        run_tasks(spark, deadly, [1])


def test_a_module_that_workers_lack_is_named_with_what_to_do(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_here = ModuleType("only_here")
    exec("def work(item): return b''", vars(only_here))
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    told = r"item 0 on .* failed: No module named 'only_here' .install 'only_here' .*pyFiles=only_here\.py"
    with pytest.raises(WorkerFailed, match=told) as caught:
        run_tasks(spark, only_here.work, [1])
    assert "Traceback" not in str(caught.value)


def test_what_cannot_be_sent_is_said_before_the_start(spark: SparkSession) -> None:
    open_socket = socket.socket()
    with pytest.raises(EchelonError, match="items cannot be sent"):
        run_tasks(spark, lambda item: b"", [open_socket])
    with pytest.raises(EchelonError, match="function cannot be sent"):
        run_tasks(spark, lambda item: repr(open_socket).encode(), [1])
