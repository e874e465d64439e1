"""A cluster on hosts apart of which something is lost in mid-training: a process, a host, a link, or the driver."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from cluster import Cluster
from distant import Driver, Order, started

from echelon.data.manifest import open_dataset
from echelon.train.checkpoint import committed
from echelon.train.results import FINISHED, RUNNING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS, EPOCHS = 120, {"epochs": 10}
RESUMED_SECONDS = 35.0


def patience(driver: Driver) -> float:
    """The limit of a recovery, unless the first launch says that the machine is too busy to hold it."""
    return max(RESUMED_SECONDS, 3 * driver.launch_seconds)


def busy(cluster: Cluster) -> list[int]:
    """The hosts on which ranks work."""
    return [number for number in range(3) if cluster.pythons(number)]


@pytest.mark.parametrize("lost", ["python worker", "executor", "host's worker"])
def test_what_is_killed_is_replaced(whole: Cluster, order: Callable[..., Order], lost: str) -> None:
    with started(order(config=EPOCHS)) as driver:
        driver.wait_for("checkpoint", step=20)
        number = busy(whole)[1]
        doomed = {"python worker": whole.pythons, "executor": whole.executors, "host's worker": whole.tree}[lost]
        killed, before = time.time(), driver.checkpoint.step
        for process in doomed(number):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        again = driver.wait_for("train", attempt=2)
        results = driver.finish()
    starts = driver.events("start", attempt=2)
    assert (results["state"], results["steps"]) == (FINISHED, STEPS)
    assert (results["workers"], results["rows"]) == (2, 10 * open_dataset(str(driver.order.data)).rows("train"))
    assert results["attempts"] == len(driver.causes) + 1 > 1
    assert starts[0]["step"] >= before, "from the newest checkpoint"
    assert "without a word" in driver.causes[0]
    assert again["at"] - killed < patience(driver)


def test_a_host_that_is_cut_off_is_gone_on_without(whole: Cluster, order: Callable[..., Order]) -> None:
    with started(order(config=EPOCHS, workers=3)) as driver:
        driver.wait_for("checkpoint", step=10)
        cut = time.time()
        whole.host(1).cut()
        again = driver.wait_for("train", attempt=2)
        results = driver.finish()
    assert (results["state"], results["steps"], results["workers"]) == (FINISHED, STEPS, 2)
    assert "nothing was heard of rank" in driver.causes[0]
    assert driver.causes[-1].endswith("going on with 2 of 3 workers")
    # What is cut off still runs and sees the storage; the checkpoints are those of the newer attempt.
    assert (driver.checkpoint.attempt, driver.checkpoint.step) == (results["attempts"], STEPS)
    assert again["at"] - cut < patience(driver)


def test_a_zombie_does_not_become_newest(whole: Cluster, order: Callable[..., Order]) -> None:
    """A host stops as a whole, another overtakes, and then the first one's worker trains on to the end."""
    config = {**EPOCHS, "checkpoint_every": "5steps", "keep_checkpoints": 2}
    with started(order(workers=1, learner={"pause": 0.25}, config=config)) as driver:
        driver.wait_for("checkpoint", step=10)
        (number,) = busy(whole)
        tree, zombies = whole.tree(number), whole.pythons(number)
        for process in tree:
            process.send_signal(signal.SIGSTOP)
        stopped = driver.checkpoint
        driver.wait_for("checkpoint", attempt=2)
        for process in zombies:
            # Its Java stays as it is, so that nobody ends it.
            process.send_signal(signal.SIGCONT)
        results = driver.finish()
        written = [(found.attempt, found.step) for found in committed(driver.folder)]
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert (results["state"], results["steps"], results["attempts"]) == (FINISHED, STEPS, 2)
    assert stopped.attempt == 1
    assert written[-1] == (2, STEPS)
    assert any(event["attempt"] == 1 and event["step"] > stopped.step for event in driver.folder.events()), (
        "the zombie did not come back, so nothing was tested"
    )


@pytest.mark.parametrize("workers", [2, 3])
def test_a_driver_that_is_killed_is_resumed(whole: Cluster, order: Callable[..., Order], workers: int) -> None:
    with started(order(config=EPOCHS, sync_every=5)) as driver:
        driver.wait_for("checkpoint", step=20)
        driver.process.kill()
        driver.process.wait()
    assert driver.folder.results["state"] == RUNNING
    before = driver.checkpoint
    with started(order(config=EPOCHS, sync_every=5, workers=workers, resume=True)) as second:
        results = second.finish()
    (start,) = second.events("start")
    assert (start["attempt"], start["step"], start["workers"]) == (2, before.step, workers)
    assert ("each begins with the mean" in start["remark"]) == (workers != 2)
    assert (results["state"], results["steps"], results["attempts"]) == (FINISHED, STEPS, 2)
    (cause,) = [event["cause"] for event in second.folder.events() if event["kind"] == "recovery"]
    assert cause.startswith(f"its driver ended without a word: process {driver.process.pid}")
