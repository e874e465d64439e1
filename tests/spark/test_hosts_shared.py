"""Trainings on a cluster of hosts apart: beside the same elsewhere, beside each other, on slow hosts and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from cluster import Cluster
from distant import Order, started

from echelon.train.checkpoint import committed
from echelon.train.results import FINISHED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BRIEF = {"epochs": 2}


def test_two_runs_at_once_share_a_cluster(order: Callable[..., Order]) -> None:
    slow = {"pause": 0.3}
    first = order("first", config=BRIEF, workers=2, learner=slow, conf={"spark.cores.max": "2"})
    second = order("second", config=BRIEF, workers=1, learner=slow, conf={"spark.cores.max": "1"})
    with started(first) as one, started(second) as other:
        assert one.finish()["state"] == other.finish()["state"] == FINISHED
    spans = [[event["at"] for event in driver.events("train")] for driver in (one, other)]
    assert max(span[0] for span in spans) < min(span[-1] for span in spans), "one after the other"
    assert [driver.folder.results["attempts"] for driver in (one, other)] == [1, 1]


@contextmanager
def throttled(processes: list[psutil.Process], busy: float, idle: float) -> Iterator[None]:
    """Lets processes run for `busy` seconds, then stops them for `idle` seconds, again and again."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(busy):
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(number)
                if number == signal.SIGSTOP:
                    over.wait(idle)

    thread = threading.Thread(target=run, name="throttle")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_slow_hosts_are_waited_for(whole: Cluster, order: Callable[..., Order]) -> None:
    """One with a link of 4 Mbit/s, for gradients of half a megabyte, and one that computes a tenth of the time."""
    # The pause lets the hosts become slow before the training is over.
    learner = {"pause": 0.2, "width": 20_000}
    with started(order(config={**BRIEF, "max_steps": 12}, workers=3, learner=learner)) as driver:
        driver.wait_for("train", step=1)
        whole.host(0).shape(4)
        with throttled(whole.pythons(1), busy=0.05, idle=0.45):
            slow = time.time()
            results = driver.finish()
    reached = results["state"], results["steps"], results["attempts"], results["workers"]
    assert reached == (FINISHED, 12, 1, 3), driver.causes
    steps = [event["at"] for event in driver.events("train") if event["at"] > slow]
    assert len(steps) >= 5, "it was over before the hosts were slow"
    # Each rank sends and gets 4/3 of the gradients in a step.
    assert (steps[-1] - steps[1]) / (len(steps) - 2) > 24 * 20_000 * 4 / 3 * 8 / 4e6 / 2, "the hosts were not slow"


@pytest.fixture(scope="module", autouse=True)
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 3 MB, made before the cluster, whose hosts see what was mounted when they began."""
    place = tmp_path_factory.mktemp("small")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)


@pytest.mark.parametrize("freed", [True, False])
def test_a_full_disk_costs_no_checkpoint(
    small_disk: Path, order: Callable[..., Order], tmp_path: Path, freed: bool
) -> None:
    """A checkpoint has about 0.5 MB. The run goes on when there is room again, else it fails and says why."""
    run, ballast = small_disk / f"run-{freed}", small_disk / "ballast"
    asked = order(run=str(run), config={"epochs": 10}, learner={"pause": 0.1, "width": 20_000})
    with started(asked) as driver:
        driver.wait_for("checkpoint", step=10)
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                os.write(file.fileno(), bytes(1 << 16))
        try:
            kept = driver.checkpoint
            driver.wait_for("recovery")
            assert driver.checkpoint.damage() == ""
            if not freed:
                assert driver.process.wait(150) == 1
        finally:
            ballast.unlink()
        if freed:
            assert driver.finish()["state"] == FINISHED
    try:
        assert any("No space left" in cause for cause in driver.causes)
        newest = committed(driver.folder)[-1]
        assert newest.damage() == ""
        assert (newest.attempt, newest.step) >= (kept.attempt, kept.step)
        if not freed:
            assert "No space left" in driver.said.splitlines()[-1]
    finally:
        subprocess.run(["rm", "-rf", str(run)], check=True, timeout=20)
