"""PowerSGD against torch's own hook of DDP, and what it keeps."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from test_comm import together
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from echelon.comm import Comm
from echelon.sync import AllReduce
from echelon.sync.powersgd import FACTOR, PowerSGDReplica
from echelon.sync.protocol import ReplicaState, Tally
from echelon.world import World

STEPS, RANK, WHOLE_STEPS = 8, 2, 2


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 5), nn.Flatten(), nn.Linear(16 * 4, 20), nn.Tanh(), nn.Linear(20, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def model() -> nn.Module:
    torch.manual_seed(5)
    return Network()


def rows(rank: int, step: int, count: int) -> torch.Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(100 * step + rank))


def _as_torch_does(comm: Comm) -> float:
    """The largest difference of a gradient to that of torch's hook, in steps without an optimizer.

    Torch sends the first two steps whole, divides by the number of ranks and draws its first factors from a seed; ours
    gets the same ones.
    """
    ours, theirs = model(), model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ddp = DistributedDataParallel(theirs, bucket_cap_mb=1000)
    ddp.register_comm_hook(PowerSGDState(None, RANK, WHOLE_STEPS), powerSGD_hook)
    replica = AllReduce(compression="powersgd", powersgd_rank=RANK).start(
        ours, comm, torch.optim.SGD(ours.parameters())
    )
    assert isinstance(replica, PowerSGDReplica)
    torch.manual_seed(np.random.RandomState(0).randint(1_000_000_000))
    for name in reversed(replica.state().shared):  # the last layer's gradients come first
        factor = replica.state().shared[name]
        factor.copy_(torch.randn(factor.shape))
    worst = 0.0
    for step in range(STEPS):
        x = rows(comm.world.rank, step, 5)
        for module in (ours, theirs):
            module.zero_grad()
        ddp(x).square().sum().div(5).backward()
        if step < WHOLE_STEPS:
            continue
        replica.module(x).square().sum().backward()
        replica.announce(Tally(weight=5), False)
        replica.before_step()
        worst = max(
            worst, *((a.grad - b.grad).abs().max().item() for a, b in zip(ours.parameters(), theirs.parameters()))
        )
    return worst / max(p.grad.abs().max().item() for p in theirs.parameters())


def test_gradients_are_those_of_torchs_hook(tmp_path: Path) -> None:
    for worst in together(3, tmp_path, _as_torch_does):
        assert worst < 1e-4


def _balance(comm: Comm) -> list[float]:
    """Of unequal rows: what was applied and is still owed, against what one process has; and how well one step does."""
    replicas = [
        PowerSGDReplica(model(), comm, rank=1),
        AllReduce().start(model(), comm, torch.optim.SGD([torch.ones(1)])),
    ]
    applied = [[torch.zeros_like(p) for p in replicas[0].module.parameters()] for _ in replicas]
    count = 1 + 4 * comm.world.rank
    first = 0.0
    for step in range(STEPS):
        for replica, sums in zip(replicas, applied):
            replica.module.zero_grad()
            with replica.microbatch(True):
                loss = replica.module(rows(comm.world.rank, step, count)).square().sum()
                loss.backward()
            replica.announce(Tally(weight=count), False)
            replica.before_step()
            for total, parameter in zip(sums, replica.module.parameters()):
                total += parameter.grad
        if step == 0:
            first = max((a - b).abs().max().item() for a, b in zip(*applied))
    owed = {name.partition("/")[2]: lost.clone() for name, lost in replicas[0].state().own.items()}
    comm.sum(list(owed.values()))
    worst = 0.0
    for (name, p), low, whole in zip(replicas[0].module.named_parameters(), *applied):
        left = owed[name].view_as(p) / comm.world.size if name in owed else torch.zeros_like(p)
        worst = max(worst, (low + left - whole).abs().max().item())
    return [worst, first, len(owed)]


def test_what_products_lose_is_sent_later(tmp_path: Path) -> None:
    for worst, first, matrices in together(3, tmp_path, _balance):
        assert matrices == 2, "a convolution's kernel and a wide matrix; the narrow one and biases are sent whole"
        assert first > 0.01, "rank 1 does lose something"
        assert worst < 1e-4


def _bytes(comm: Comm) -> list[float]:
    found = []
    for strategy in (AllReduce(), AllReduce(compression="bf16"), AllReduce(compression="powersgd", powersgd_rank=2)):
        wide = nn.Linear(500, 400, bias=False)
        replica = strategy.start(wide, comm, torch.optim.SGD(wide.parameters()))
        before = comm.bytes_sent
        with replica.microbatch(True):
            replica.module(torch.ones(1, 500)).sum().backward()
        found.append((comm.bytes_sent - before) / 4 if strategy.compression != "powersgd" else 0.0)
        replica.announce(Tally(weight=1), False)
        replica.before_step()
        found[-1] = found[-1] or (comm.bytes_sent - before) / 4
    return found


def test_bytes(tmp_path: Path) -> None:
    tally = len(vars(Tally())) * 8 / 4
    for whole, half, products in together(2, tmp_path, _bytes):
        assert (whole, half) == (200_000, 100_000)
        assert products == 2 * (500 + 400) + tally


def _zeros(comm: Comm) -> list[bool]:
    """Gradients of zeros, and a parameter that takes part nowhere."""
    net = nn.ModuleList([nn.Linear(30, 30), nn.Linear(30, 30)])
    replica = PowerSGDReplica(net, comm, 1)
    (net[0](torch.zeros(2, 30)) * 0).sum().backward()
    replica.announce(Tally(), False)
    replica.before_step()
    state = copy.deepcopy(replica.state().shared)
    return [bool((p.grad == 0).all()) for p in net.parameters()] + [bool(t.isfinite().all()) for t in state.values()]


def test_gradients_of_zeros_stay_zeros(tmp_path: Path) -> None:
    assert all(all(found) for found in together(2, tmp_path, _zeros))


def test_one_process_sends_nothing_and_keeps_nothing() -> None:
    comm = Comm(World(0, 1))
    replica = PowerSGDReplica(model(), comm, 1)
    replica.module(rows(0, 0, 4)).sum().backward()
    whole = [p.grad.clone() / 4 for p in replica.module.parameters()]
    replica.announce(Tally(weight=4), False)
    replica.before_step()
    assert all(torch.equal(p.grad, g) for p, g in zip(replica.module.parameters(), whole))
    assert not [name for name in replica.state().shared if name.startswith(FACTOR)]
    assert comm.bytes_sent == 0


def test_one_process_takes_what_several_owed() -> None:
    replica = PowerSGDReplica(model(), Comm(World(0, 1)), 1)
    owed = torch.full((16, 75), 0.5)
    replica.restore(ReplicaState(own={"lost/net.0.weight": owed}))
    for step in range(2):
        replica.module.zero_grad()
        (replica.module(rows(0, 0, 4)).sum() * 0).backward()
        replica.announce(Tally(weight=4), False)
        replica.before_step()
        kernel = replica.module.net[0].weight.grad
        assert torch.equal(kernel.view(16, 75), owed if step == 0 else torch.zeros(16, 75)), "once"
