"""Faults as they are written, and what they do to a worker."""

from __future__ import annotations

import time

import pytest

from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.faults import Fault, Rehearsal, RehearsedError, parse_faults, remark_on
from echelon.world import World


def test_faults_are_read_as_they_are_written() -> None:
    text = "kill:1@20, fail:0@3,hang:2@7,slow:2x1.8,slow:0x3"
    faults = parse_faults(text)
    assert faults[0] == Fault("kill", 1, 20)
    assert faults[3] == Fault("slow", 2, factor=1.8)
    assert ",".join(map(str, faults)) == text.replace(" ", "")
    assert parse_faults(None) == ()


@pytest.mark.parametrize("text", ["kill:1", "kill:1@0", "slow:1x0.5", "slow:1@3", "stop:1@3", "kill:-1@3", "kill:1@2,"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(EchelonError, match="is no fault: write kill:1@20"):
        RunConfig(fault=text)


@pytest.mark.parametrize("text", ["30s", "sometimes", "2hours", "once more"])
def test_what_is_no_balance_is_refused(text: str) -> None:
    with pytest.raises(EchelonError, match=f"--balance must be off, once, .* got '{text}'"):
        RunConfig(balance=text)


def test_a_fault_is_of_one_rank_one_step_and_the_first_attempt() -> None:
    faults = parse_faults("fail:1@3")
    assert not Rehearsal(faults, World(0, 2))
    assert not Rehearsal(faults, World(1, 2, attempt=2))
    rehearsal = Rehearsal(faults, World(1, 2))
    assert rehearsal
    rehearsal.before(2)
    with pytest.raises(RehearsedError, match="rank 1 of 2 on localhost: --fault fail:1@3"):
        rehearsal.before(3)


def test_a_slow_worker_takes_its_factor_on_every_attempt() -> None:
    rehearsal = Rehearsal(parse_faults("slow:0x3"), World(0, 2, attempt=4))
    spent = []
    for step in range(1, 6):
        begin = time.perf_counter()
        rehearsal.before(step)
        time.sleep(0.02)
        spent.append(time.perf_counter() - begin)
        rehearsal.after(spent[-1])
    assert spent[0] < 0.05
    assert min(spent[1:]) >= 0.055


def test_what_is_rehearsed_is_said() -> None:
    faults = parse_faults("kill:1@20,slow:0x2,hang:5@3")
    first = remark_on(faults, World(0, 2))
    assert first == "rehearsing kill:1@20, slow:0x2; no rank of 2 workers has the fault hang:5@3"
    assert remark_on(faults, World(0, 2, attempt=2)) == "rehearsing slow:0x2"
    assert remark_on((), World()) == ""
