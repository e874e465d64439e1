"""The process that Python workers are forked from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil

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
