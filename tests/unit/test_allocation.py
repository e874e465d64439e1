"""That freed memory stays where it is wanted again, told by the pages that the system had to clear."""

from __future__ import annotations

import resource

import psutil
import pytest
import torch

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


def test_what_was_kept_is_given_back() -> None:
    process = psutil.Process()
    with kept_memory():
        torch.ones(2**26)
        within = process.memory_info().rss
    assert within - process.memory_info().rss > 2**27
