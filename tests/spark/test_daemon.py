"""The process that Python workers are forked from."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyarrow as pa
import pytest
from pyspark import accumulators

from echelon.spark.barrier import run_gang
from echelon.spark.job import run_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def describe_parent(item: int) -> bytes:
    parent = psutil.Process().parent()
    assert parent is not None
    libraries = {library.path.rsplit("/", 1)[-1] for library in parent.memory_maps()}
    return json.dumps([parent.cmdline(), "libtorch_cpu.so" in libraries, parent.num_threads()]).encode()


def test_workers_are_forked_from_a_process_with_torch_and_without_threads(spark: SparkSession) -> None:
    command, has_torch, threads = json.loads(run_tasks(spark, describe_parent, [0])[0])
    assert "echelon.spark.daemon" in command
    assert has_torch
    # What holds a lock in another thread at the moment of the fork would hold it for ever in the child.
    assert threads == 1


def test_gangs_and_dataframes_have_workers_of_one_process(spark: SparkSession) -> None:
    def parents(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"parent": [os.getppid() for _ in batches][:1]})

    (row,) = spark.range(0, 1, 1, 1).mapInArrow(parents, "parent long").collect()
    (gang,) = run_gang(spark, lambda member: str(os.getppid()).encode(), 1, run_id="parent", attempt=1)
    assert row["parent"] == int(gang)


def folder_of_sockets(item: int) -> bytes:
    return json.dumps(os.environ.get("PYTHON_WORKER_FACTORY_SOCK_DIR", "")).encode()


ONE_TASK = """
import test_daemon
from echelon.spark.job import run_tasks
from echelon.spark.session import session

print(run_tasks(session("local[1]"), test_daemon.folder_of_sockets, [0])[0].decode())
"""


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no such sockets here")
@pytest.mark.skipif(not hasattr(accumulators, "AccumulatorUnixServer"), reason="this Spark knows TCP only")
def test_workers_are_reached_by_files_of_which_none_is_left() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": "/tmp"}
    command = [sys.executable, "-c", ONE_TASK]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    folder = json.loads(done.stdout.splitlines()[-1])
    assert folder.startswith("/tmp/")
    assert not Path(folder).exists()
