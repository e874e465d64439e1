"""Trainings whose drivers are processes of their own, watched from outside while something breaks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from echelon.train.checkpoint import Checkpoint, committed
from echelon.train.run import RunFolder

HERE = Path(__file__).parent
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 150.0
"""On a busy machine the Javas of a cluster take long to start."""
JAVA_SECONDS = 5.0
"""In which Java notices that its driver is gone."""


@dataclass(frozen=True)
class Order:
    """What a driver is asked for.

    folder: in which the run, "run", and the driver's events and messages are. sync_every: 1 for AllReduce. server:
    whether by a parameter server, with leases of so many steps.
    """

    folder: Path
    data: str
    master: str
    driver: str
    workers: int = 2
    sync_every: int = 1
    server: bool = False
    resume: bool = False
    run: str = ""
    learner: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    conf: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The run's folder."""
        return self.run or str(self.folder / "run")


USUAL = {"batch_size": 32, "lanes": 32, "eval_every": "off", "checkpoint_every": "10steps", "log_every": "1step"}


class Driver:
    """The process of one order."""

    def __init__(self, order: Order) -> None:
        order.folder.mkdir(parents=True, exist_ok=True)
        self.order, self._begun = order, time.time()
        number = len(list(order.folder.glob("order-*.json")))
        self._events, self._said = order.folder / f"events-{number}.jsonl", order.folder / f"said-{number}.txt"
        self.folder = RunFolder(order.place)
        conf = {
            "spark.driver.host": order.driver,
            "spark.driver.memory": "600m",
            # In a cluster the workers have installed what they import; here they find it beside this file.
            "spark.executorEnv.PYTHONPATH": str(HERE),
            **order.conf,
        }
        asked = {
            "events": str(self._events), "run": order.place, "data": order.data, "master": order.master, "conf": conf,
            "workers": order.workers, "sync_every": order.sync_every, "server": order.server, "resume": order.resume,
            "learner": dict(order.learner), "config": {**USUAL, **order.config},
        }  # fmt: skip
        path = order.folder / f"order-{number}.json"
        path.write_text(json.dumps(asked))
        with self._said.open("wb") as said:
            command = [sys.executable, str(HERE / "on_hosts.py"), str(path)]
            self.process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def events(self, kind: str = "", attempt: int = 0) -> list[dict[str, Any]]:
        """What has happened by now, of one kind and from an attempt on."""
        found = [json.loads(line) for line in _lines(self._events) if line.endswith("\n")]
        return [e for e in found if kind in ("", e["kind"]) and e["attempt"] >= attempt]

    def wait_for(
        self, kind: str, *, step: int = 0, attempt: int = 1, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The first event of a kind from a step and an attempt on.

        Raises:
            AssertionError: it did not come in time, or the driver ended before.
        """
        end = time.monotonic() + seconds
        while True:
            over = self.process.poll() is not None
            for event in self.events(kind, attempt):
                if event["step"] >= step:
                    return event
            assert not over, f"the driver ended with {self.process.returncode}: {self.said[-3000:]}"
            late = f"no '{kind}' of step {step} and attempt {attempt} within {seconds:.0f} s; {self.events()[-3:]}"
            assert time.monotonic() < end, f"{late}; {self.said[-3000:]}"
            time.sleep(POLL_SECONDS)

    def finish(self, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Its results when it came to its end without an error."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"not over within {seconds:.0f} s: {self.events()[-3:]}; {self.said[-3000:]}"
            ) from None
        assert code == 0, self.said[-3000:]
        return self.folder.results

    @property
    def launch_seconds(self) -> float:
        """From the start of the driver to the first step."""
        return self.events("start")[0]["at"] - self._begun

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest that counts."""
        return committed(self.folder)[-1]

    @property
    def causes(self) -> list[str]:
        """Why there were further attempts."""
        return [event["cause"] for event in self.events("recovery")]

    def close(self) -> None:
        """Ends it and its Java."""
        if self.process.poll() is None:
            java = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(java, JAVA_SECONDS)
            for process in java:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


@contextmanager
def started(order: Order) -> Iterator[Driver]:
    """A driver that is killed at the end of the block if it is still there."""
    driver = Driver(order)
    try:
        yield driver
    finally:
        driver.close()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
