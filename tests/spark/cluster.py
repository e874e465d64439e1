"""A standalone Spark cluster of child processes: a master and some workers, from the files of pyspark."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyspark
from hosts import LOOPBACK, Host, Network

from echelon.spark.jvm import find_java

START_SECONDS = 60.0
END_SECONDS = 15.0


class Cluster:
    """A master and workers on the hosts of a network. What is broken on purpose is made whole again by `heal`.

    url: of the master. folder: of its logs and of the workers' own folders.
    """

    def __init__(self, folder: Path, workers: int, cores: int, network: Network) -> None:
        self.folder, self.network, self._cores = folder, network, cores
        self._home = Path(pyspark.__file__).parent
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._starts = 0
        self._master = self._start("master", network.driver, "org.apache.spark.deploy.master.Master")
        try:
            self.url = _said(folder / "master.log", r"Starting Spark master at (spark://\S+)")
            self._join(range(workers))
        except BaseException:
            self.close()
            raise

    def host(self, number: int) -> Host:
        """Where a worker runs."""
        return self.network.hosts[number % len(self.network.hosts)]

    def number(self, process: psutil.Process) -> int:
        """The worker that started a process."""
        ancestors = {parent.pid for parent in process.parents()}
        return next(number for number, worker in self._workers.items() if worker.pid in ancestors)

    def tree(self, number: int) -> list[psutil.Process]:
        """A worker's Java, its executors' Javas and their Python processes, parents first."""
        worker = psutil.Process(self._workers[number].pid)
        return [worker, *worker.children(recursive=True)]

    def executors(self, number: int) -> list[psutil.Process]:
        """The Javas that run tasks."""
        return [process for process in self.tree(number)[1:] if process.name() == "java"]

    def pythons(self, number: int) -> list[psutil.Process]:
        """The Python processes that run tasks: children of the process that forks them."""
        found = []
        for process in self.tree(number):
            with suppress(psutil.NoSuchProcess):
                parent = process.parent()
                if process.name() != "java" and parent is not None and "java" not in parent.name():
                    found.append(process)
        return found

    def heal(self) -> None:
        """All hosts on the network at full speed, and a new worker in place of each that is dead or has executors."""
        broken = []
        for number, worker in self._workers.items():
            if self.host(number).link:
                self.host(number).mend()
                self.host(number).shape(None)
            if worker.poll() is not None or self.executors(number):
                _end(worker)
                broken.append(number)
        self._join(broken)

    def close(self) -> None:
        for worker in self._workers.values():
            _end(worker)
        _end(self._master)

    def _join(self, numbers: Iterable[int]) -> None:
        """Starts workers that the master then knows."""
        logs = []
        for number in numbers:
            size = ["--cores", str(self._cores), "--memory", "1g", "--work-dir", str(self.folder / f"worker-{number}")]
            self._starts += 1
            name = f"worker-{number}-{self._starts}"
            kind = "org.apache.spark.deploy.worker.Worker"
            self._workers[number] = self._start(name, self.host(number), kind, *size, self.url)
            logs.append(self.folder / f"{name}.log")
        for log in logs:
            _said(log, r"(Successfully registered with master)")

    def _start(self, name: str, host: Host, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "SPARK_HOME": str(self._home),
            "JAVA_HOME": str(find_java().home),
            "SPARK_NO_DAEMONIZE": "1",
            "SPARK_LOCAL_IP": host.address,
        }
        place = ["--host", host.address, "--port", "0", "--webui-port", "0"]
        command = [*host.enter, str(self._home / "bin/spark-class"), kind, *place, *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


@contextmanager
def cluster_on(folder: Path, workers: int, cores: int = 1, network: Network = LOOPBACK) -> Iterator[Cluster]:
    """A cluster for the length of the block. Its logs and the workers' folders are in `folder`."""
    cluster = Cluster(folder, workers, cores, network)
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def standalone_cluster(folder: Path, workers: int, cores: int = 1, network: Network = LOOPBACK) -> Iterator[str]:
    """The same, for who needs no more than the URL of its master."""
    with cluster_on(folder, workers, cores, network) as cluster:
        yield cluster.url


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, asked first, and whatever it has started."""
    started = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.send_signal(signal.SIGCONT)  # one that is stopped hears no request
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(started, END_SECONDS)


def _said(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(
        f"'{pattern}' was not said within {START_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}"
    )
