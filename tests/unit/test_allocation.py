"""That freed memory stays where it is wanted again, told by the pages that the system had to clear."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import time

import psutil
import pytest
import torch

from echelon import allocation
from echelon.allocation import glibc, kept_memory

PAGE = resource.getpagesize()
BLOCK_MB, PASSES = 40, 30
BLOCK_PAGES = BLOCK_MB * 2**20 // PAGE

pytestmark = pytest.mark.skipif(glibc() is None, reason="only glibc's malloc can be told to keep memory")


def pages_cleared() -> int:
    """While a block of memory is filled and freed several times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(PASSES):
        torch.ones(BLOCK_MB * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_that_is_wanted_again_is_not_cleared_again() -> None:
    alone = pages_cleared()
    with kept_memory(), kept_memory():
        kept = pages_cleared()
    # Where the system hands out huge pages, a fault stands for many pages.
    if alone < PASSES * BLOCK_PAGES // 2:
        pytest.skip(f"the system clears memory in other pieces than pages of {PAGE} bytes")
    # Blocks come and go in new places until the small ones among them have found theirs.
    assert kept < alone // 2, "in the first passes at most"


def test_what_was_kept_is_given_back_some_time_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "IDLE_SECONDS", 0.5)
    process = psutil.Process()
    with kept_memory():
        torch.ones(2**26)
        within = process.memory_info().rss
    assert within - process.memory_info().rss < 2**27, "whoever comes next finds it"
    deadline = time.monotonic() + 20
    while within - process.memory_info().rss < 2**27:
        assert time.monotonic() < deadline, "it is not given back"
        time.sleep(0.05)


def test_nothing_is_given_back_within_a_block_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(allocation, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(allocation, "give_back", lambda: given.append(time.monotonic()))
    with kept_memory():
        pass
    with kept_memory():
        time.sleep(0.5)
        assert not given
    deadline = time.monotonic() + 20
    while not given:
        assert time.monotonic() < deadline, "it is not given back"
        time.sleep(0.05)
    time.sleep(0.3)
    assert len(given) == 1


LEFT_OPEN = """
from echelon.allocation import kept_memory

def rows():
    with kept_memory():
        yield 1

kept = rows()
next(kept)
"""


def test_the_interpreter_ends_within_a_block() -> None:
    subprocess.run([sys.executable, "-c", LEFT_OPEN], check=True, timeout=60)


OTHERS = """
import psutil
import torch

from echelon.allocation import kept_memory

with kept_memory():
    pass
large = torch.ones(2**26)
above = [bytearray(1000) for _ in range(1000)]
before = psutil.Process().memory_info().rss
del large
print(before - psutil.Process().memory_info().rss)
"""


def test_large_blocks_of_others_do_not_stay() -> None:
    """Who takes memory before the rest is given back gets it from the system, and gives it back alone."""
    done = subprocess.run([sys.executable, "-c", OTHERS], check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) > 2**27


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_a_fork_can_begin_blocks_itself() -> None:
    with kept_memory():
        pass
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_a_block)
    child.start()
    child.join(20)
    assert child.exitcode == 0


def _a_block() -> None:
    with kept_memory():
        torch.ones(3)
