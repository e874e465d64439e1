"""The collectives, between real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from together import together
from torch.nn.parallel import DistributedDataParallel

from echelon.buckets import BUCKET_BYTES
from echelon.comm import Comm
from echelon.errors import CommunicationError
from echelon.sync import AllReduce
from echelon.sync.buffers import Exchange
from echelon.sync.protocol import Tally


def _everything(comm: Comm) -> dict:
    rank, kinds = comm.world.rank, (torch.float32, torch.float64, torch.bfloat16, torch.int64)
    summed = [torch.full((2, 3), rank + 1, dtype=kind) for kind in kinds]
    comm.sum(summed)
    largest = torch.tensor([rank, -rank, 7])
    comm.maximum([largest])
    first = [torch.full((3,), rank + 0.5), torch.tensor(rank == 0), torch.tensor(rank, dtype=torch.int64)]
    comm.broadcast(first)
    before = comm.bytes_sent
    big = [torch.randn(BUCKET_BYTES // 12), torch.randn(BUCKET_BYTES // 6), torch.randn(10)]
    comm.sum(big)
    return {
        "summed": [tensor.tolist() for tensor in summed],
        "largest": largest.tolist(),
        "first": [tensor.tolist() for tensor in first],
        "gathered": [part.decode() for part in comm.gather_bytes(b"ab" * rank)],
        "gathered by one": [part.decode() for part in comm.gather_bytes(b"ab" * rank, everywhere=False)],
        "bytes": comm.bytes_sent,
        "sent for": [comm.bytes_sent - before, sum(t.numel() * 4 for t in big)],
        "bits": [tensor.view(torch.int32).long().sum().item() for tensor in big],
        "seconds": comm.seconds,
    }


def test_collectives_of_three_ranks(tmp_path: Path) -> None:
    results = together(3, tmp_path, _everything)
    for result in results:
        assert result["summed"] == [[[6.0] * 3] * 2] * 3 + [[[6] * 3] * 2]
        assert result["largest"] == [2, 0, 7]
        assert result["first"] == [[0.5] * 3, True, 0]
        assert result["gathered"] == ["", "ab", "abab"]
        assert result["gathered by one"] == (["", "ab", "abab"] if result is results[0] else [])
        assert result["bits"] == results[0]["bits"], "a sum has the same bits on every rank"
        assert result["seconds"] > 0


def _statistics(comm: Comm) -> list:
    """BatchNorm over unequal parts of some rows, a constant, a mask and a buffer that is not stored."""
    rows = torch.arange(40.0).reshape(10, 4).square()
    mine = rows[:7] if comm.world.is_first else rows[7:]
    norm = torch.nn.BatchNorm1d(4, momentum=1.0)
    norm.register_buffer("constant", torch.tensor([1 / 3, 1e-8, 3e30]))
    norm.register_buffer("mask", torch.tensor([comm.world.is_first, False]))
    norm.register_buffer("cache", torch.tensor(float(comm.world.rank)), persistent=False)
    norm.running_mean.copy_(mine.mean(0))
    norm.running_var.copy_(mine.var(0, unbiased=False))
    for _ in range(2):  # the second time all have the same, which must stay
        total = Exchange(comm, norm, Tally(weight=len(mine), rows=1)).finish()
    state = [norm.running_mean, norm.running_var, norm.constant, norm.mask, norm.cache]
    return [total.weight, total.rows, *(tensor.tolist() for tensor in state)]


def test_buffers_become_those_of_all_rows(tmp_path: Path) -> None:
    rows = torch.arange(40.0).reshape(10, 4).square()
    for rank, (weight, count, mean, variance, constant, mask, cache) in enumerate(together(2, tmp_path, _statistics)):
        assert (weight, count) == (10, 2)
        torch.testing.assert_close(torch.tensor(mean), rows.mean(0))
        torch.testing.assert_close(torch.tensor(variance), rows.var(0, unbiased=False))
        assert torch.equal(torch.tensor(constant), torch.tensor([1 / 3, 1e-8, 3e30]))
        assert (mask, cache) == ([True, False], rank)


def _one_leaves(comm: Comm) -> None:
    comm.deadline("a step", 2)
    if comm.world.is_first:
        comm.sum([torch.ones(1)])


@pytest.mark.parametrize("present", [1, 2], ids=["never came", "left"])
def test_a_missing_rank_is_an_error_that_says_where(tmp_path: Path, present: int) -> None:
    message = together(2, tmp_path, _one_leaves, present)[0]
    assert message.startswith("rank 0 of 2")
    assert ("sum failed in phase 'a step'" if present == 2 else "the meeting of all ranks failed") in message


def _leaves_ddp_in_a_cycle(comm: Comm) -> str:
    network = torch.nn.Linear(3, 3)
    cycle = [DistributedDataParallel(network, init_sync=False), network]
    cycle.append(cycle)
    _keep_gloo_in_python()
    return "left"


def _fails_with_ddp_in_a_cycle(comm: Comm) -> str:
    replica = AllReduce().start(torch.nn.Linear(3, 3), comm, None)
    cycle = [replica]
    cycle.append(cycle)
    _keep_gloo_in_python()
    raise CommunicationError("a peer is gone")


def _keep_gloo_in_python() -> None:
    """For a second one of its threads is in Python, and needs its lock to go on."""
    work = torch.distributed.all_reduce(torch.ones(3), async_op=True)
    work.get_future().then(lambda future: time.sleep(1))


@pytest.mark.parametrize(
    ("work", "result"), [(_leaves_ddp_in_a_cycle, "left"), (_fails_with_ddp_in_a_cycle, "a peer is gone")]
)
def test_the_end_of_a_group_waits_for_its_threads_without_the_lock_of_python(
    tmp_path: Path, work: Callable[[Comm], str], result: str
) -> None:
    """DDP's part in C++ would wait with it, if it were the last to hold the group."""
    assert together(2, tmp_path, work) == [result] * 2


def _fails_while_the_other_is_late(comm: Comm) -> str:
    if not comm.world.is_first:
        time.sleep(2)
        return "late"
    comm.begin_sum(torch.ones(3))
    raise CommunicationError(str(time.time()))


def test_who_fails_tells_it_before_the_others_join_what_it_had_begun(tmp_path: Path) -> None:
    failed, _ = together(2, tmp_path, _fails_while_the_other_is_late)
    assert (tmp_path / "0.json").stat().st_mtime - float(failed) < 1
