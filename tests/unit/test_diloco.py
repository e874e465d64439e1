"""DiLoCo with overlap in one process: what is late may not make it unstable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echelon.comm import Comm
from echelon.sync import DiLoCo
from echelon.sync.protocol import Tally
from echelon.world import World

ROUNDS = 300


def left(strategy: DiLoCo, covered: float) -> float:
    """How far from the minimum of a quadratic it is, after rounds that each cover a part of the way."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    replica = strategy.start(module, Comm(World(0, 1)), torch.optim.SGD(module.parameters()))
    for step in range(1, ROUNDS + 1):
        with torch.no_grad():
            module.weight.mul_(1 - covered)
        replica.announce(Tally(weight=1), step == ROUNDS)
        replica.after_step()
    return abs(module.weight.item())


@pytest.mark.parametrize("covered", [0.05, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("overlap", [False, True], ids=["waiting", "overlapped"])
def test_rounds_converge_whatever_part_of_the_way_they_cover(covered: float, overlap: bool) -> None:
    assert left(DiLoCo(1, overlap=overlap), covered) < 1e-4


def test_late_averages_alone_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why a replica goes on with its own displacement on top."""
    from echelon.sync.diloco import DiLoCoReplica

    go_on = DiLoCoReplica._go_on_from
    monkeypatch.setattr(DiLoCoReplica, "_go_on_from", lambda self, vector: go_on(self, self._theta))
    assert left(DiLoCo(1, overlap=True), 0.2) < 1e-4
    assert left(DiLoCo(1, overlap=True), 0.8) > 1e4
