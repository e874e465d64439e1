"""A standalone Spark cluster of child processes: a master and some workers, from the files of pyspark."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from echelon.spark.jvm import find_java

START_SECONDS = 60.0


@dataclass(frozen=True)
class Host:
    """An address, and what a command must begin with to run there."""

    address: str
    enter: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """The host of the driver and the master, and those of the workers in turn."""

    driver: Host
    hosts: tuple[Host, ...]


LOOPBACK = Network(Host("127.0.0.1"), (Host("127.0.0.1"),))


@contextmanager
def standalone_cluster(folder: Path, workers: int, cores: int = 1, network: Network = LOOPBACK) -> Iterator[str]:
    """The URL of its master. Its logs and the workers' folders are in `folder`."""
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(find_java().home),
        "SPARK_NO_DAEMONIZE": "1",
    }
    with ExitStack() as stack:

        def start(name: str, host: Host, kind: str, *arguments: str) -> Path:
            log = folder / f"{name}.log"
            place = ["--host", host.address, "--port", "0", "--webui-port", "0"]
            command = [*host.enter, str(home / "bin/spark-class"), kind, *place, *arguments]
            stack.enter_context(_process(command, {**environment, "SPARK_LOCAL_IP": host.address}, log))
            return log

        master = start("master", network.driver, "org.apache.spark.deploy.master.Master")
        url = _said(master, r"Starting Spark master at (spark://\S+)")
        logs = []
        for number in range(workers):
            size = ["--cores", str(cores), "--memory", "1g", "--work-dir", str(folder / f"worker-{number}")]
            host = network.hosts[number % len(network.hosts)]
            logs.append(start(f"worker-{number}", host, "org.apache.spark.deploy.worker.Worker", *size, url))
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
