"""A training on a cluster of hosts apart beside the same one on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from distant import Order, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 24
BRIEF = {"epochs": 2}


@pytest.mark.parametrize("sync_every", [1, 5])
def test_the_cluster_trains_to_the_same_bits_as_one_machine(order: Callable[..., Order], sync_every: int) -> None:
    there = order("there", config=BRIEF, sync_every=sync_every, learner={"pause": 0, "width": 50})
    here = replace(there, folder=there.folder.with_name("here"), master="local[2,8]", driver="127.0.0.1")
    with started(there) as one, started(here) as other:
        assert one.finish()["steps"] == other.finish()["steps"] == STEPS
    ours, theirs = one.checkpoint.model(), other.checkpoint.model()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
