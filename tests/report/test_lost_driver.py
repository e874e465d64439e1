"""A run whose driver is killed: what its folder says then, and after it was resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pages import text_of
from stories import Story

from echelon.report.index import runs
from echelon.report.page import run_page
from echelon.report.recorded import read_run
from echelon.train.heartbeat import HEARTBEAT, SILENT_BEATS, beating, last_heartbeat, lost_driver
from echelon.train.progress import Progress
from echelon.train.results import FAILED, FINISHED, RUNNING
from echelon.train.run import RunFolder

TRAINING = """
import sys, time
from dataclasses import dataclass
import numpy as np, torch
import echelon
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.train.config import RunConfig

@dataclass
class Slow(echelon.Learner):
    def model(self): return torch.nn.Linear(2, 1)
    def optimizer(self, model): return torch.optim.SGD(model.parameters(), lr=0.1)
    def loss(self, model, batch):
        time.sleep(float(sys.argv[2]))
        return model(batch["x"]).square().sum(), len(batch)

data, resume = sys.argv[1] + "/data", sys.argv[3] == "resume"
if not resume:
    write_dataset(data, Schema((Column("x", "float32", (2,)),)), {"train": [{"x": np.ones((64, 2), np.float32)}]})
config = RunConfig(batch_size=16, max_steps=20, epochs=9, checkpoint_every="2steps", log_every="1step")
echelon.fit(Slow(), data, config, run=sys.argv[1] + "/run", resume=resume)
"""


def age(run: RunFolder, seconds: float) -> None:
    """Makes the last sign of life older."""
    told = run.storage.read_json(HEARTBEAT)
    before = datetime.fromisoformat(told["time"]) - timedelta(seconds=seconds)
    run.storage.write_json(HEARTBEAT, {**told, "time": before.isoformat()})


@pytest.mark.parametrize(("state", "lost"), [(RUNNING, True), (FAILED, False), (FINISHED, False)])
def test_only_a_run_that_is_said_to_go_on_can_be_lost(tmp_path: Path, state: str, lost: bool) -> None:
    story = Story(f"{tmp_path}/one")
    story.attempt(0, 50)
    story.finish(Progress(), state)
    run = RunFolder(f"{tmp_path}/one")
    with beating(run, every=10):
        pass
    assert lost_driver(run) is None, "it has just been heard of"
    age(run, SILENT_BEATS * 10 + 2)
    assert (lost_driver(run) is not None) == lost
    told = " ".join(text_of(runs(str(tmp_path)), width=200).split())
    assert ("stopped answering" in told) == lost
    assert ("stopped answering" in read_run(run.url).state) == lost


def test_signs_of_life_go_on_until_the_end_of_the_block(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    with beating(run, every=0.05):
        seen, end = set(), time.monotonic() + 20
        while len(seen) < 2 and time.monotonic() < end:
            run.storage.write_json(HEARTBEAT, {}) if seen else None
            last = last_heartbeat(run)
            seen |= {len(seen)} if last is not None else set()
            time.sleep(0.02)
        assert len(seen) == 2, "one that was overwritten comes again"
        assert last is not None
        assert last.process == os.getpid()
    run.storage.write_json(HEARTBEAT, {})
    time.sleep(0.2)
    assert run.storage.read_json(HEARTBEAT) == {}, "and no more of them after it"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"time": 1}', '{"time":"x","every":1,"host":"","process":1}'])
def test_a_sign_of_life_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    run = RunFolder(str(tmp_path))
    run.storage.write(HEARTBEAT, content.encode())
    assert last_heartbeat(run) is None


def test_a_run_whose_driver_was_killed_says_so_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    run = RunFolder(str(tmp_path / "run"))
    with subprocess.Popen([*command, "0.2", "new"], stderr=subprocess.PIPE, text=True) as driver:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("run/checkpoints/1-*/COMMIT.json")):
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)
        driver.kill()
    assert run.results["state"] == RUNNING
    age(run, 100)
    found = read_run(run.url)
    assert found.state == "stopped answering"
    assert f"process {driver.pid} on" in run_page(found)

    done = subprocess.run([*command, "0", "resume"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = read_run(run.url)
    assert (found.state, found.results["steps"], found.results["attempts"]) == (FINISHED, 20, 2)
    (recovery,) = [event for event in run.events() if event["kind"] == "recovery"]
    assert recovery["attempt"] == 1
    assert f"process {driver.pid} on" in recovery["cause"]
