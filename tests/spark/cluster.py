"""A standalone Spark cluster of child processes: a master and some workers, from the files of pyspark."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

from echelon.spark.jvm import find_java

START_SECONDS = 60.0


@contextmanager
def standalone_cluster(folder: Path, workers: int, cores: int = 1) -> Iterator[str]:
    """The URL of its master. Its logs and the workers' folders are in `folder`."""
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(find_java().home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
    }
    common = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    with ExitStack() as stack:

        def start(name: str, kind: str, *arguments: str) -> Path:
            log = folder / f"{name}.log"
            stack.enter_context(_process([str(home / "bin/spark-class"), kind, *common, *arguments], environment, log))
            return log

        master = start("master", "org.apache.spark.deploy.master.Master")
        url = _said(master, r"Starting Spark master at (spark://\S+)")
        logs = []
        for number in range(workers):
            place = ["--cores", str(cores), "--memory", "1g", "--work-dir", str(folder / f"worker-{number}")]
            logs.append(start(f"worker-{number}", "org.apache.spark.deploy.worker.Worker", *place, url))
        for log in logs:
            _said(log, r"(Successfully registered with master)")
        yield url


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _said(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(
        f"'{pattern}' was not said within {START_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}"
    )
