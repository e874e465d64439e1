"""Workers that run at the same time, as real barrier tasks."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from echelon.errors import CommunicationError, EchelonError
from echelon.group import connect
from echelon.spark.barrier import run_gang
from echelon.spark.failure import WorkerFailed
from echelon.spark.probe import Probe
from echelon.spark.rendezvous import Member
from echelon.spark.slots import TooFewSlots, slots

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def add_ranks(member: Member) -> bytes:
    """The sum of rank + 1 over all ranks, by a collective."""
    with connect(member.world, member.store, interface=member.interface, seconds=20) as comm:
        total = torch.tensor([member.world.rank + 1.0])
        comm.sum([total])
    member.tell({"total": float(total), "place": [member.world.local_rank, member.world.local_size]})
    return f"{member.world.rank}:{float(total)}".encode()


def gang(spark: SparkSession, work: Callable[[Member], bytes], workers: int = 2, **options: Any) -> list[bytes]:
    return run_gang(spark, work, workers, run_id="test", attempt=1, **options)


def test_ranks_meet_and_their_results_come_in_order(spark: SparkSession) -> None:
    events: list[dict[str, Any]] = []
    assert gang(spark, add_ranks, on_event=events.append) == [b"0:3.0", b"1:3.0"]
    told = sorted(events, key=lambda event: event["rank"])
    assert [event["total"] for event in told] == [3.0, 3.0]
    assert [event["place"] for event in told] == [[0, 2], [1, 2]]


def test_the_next_gang_finds_the_processes_of_the_last(spark: SparkSession) -> None:
    def process(member: Member) -> bytes:
        return str(os.getpid()).encode()

    assert set(gang(spark, process)) == set(gang(spark, process))


def test_more_workers_than_slots_are_refused_with_the_numbers(spark: SparkSession) -> None:
    assert slots(spark) == 2
    start = time.monotonic()
    with pytest.raises(TooFewSlots, match=r"5 workers need 5 task slots at once, .* has 2: use at most 2") as refused:
        gang(spark, add_ranks, workers=5)
    assert refused.value.slots == 2
    assert time.monotonic() - start < 2


def test_the_users_exception_is_the_root_cause_and_comes_at_once(spark: SparkSession) -> None:
    def work(member: Member) -> bytes:
        if member.world.rank == 1:
            raise KeyError("what the user got wrong")
        # Left alone, rank 0 would wait for a minute and blame the network.
        with connect(member.world, member.store, interface=member.interface, seconds=60) as comm:
            comm.sum([torch.ones(1)])
        return b""

    start = time.monotonic()
    with pytest.raises(WorkerFailed, match=r"rank 1 on .*KeyError: 'what the user got wrong'") as failed:
        gang(spark, work)
    assert failed.value.rank == 1
    assert "in work" in failed.value.traceback
    assert time.monotonic() - start < 20


def test_a_killed_process_is_a_communication_error(spark: SparkSession) -> None:
    def work(member: Member) -> bytes:
        with connect(member.world, member.store, interface=member.interface, seconds=60) as comm:
            comm.sum([torch.ones(1)])
            if member.world.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            comm.sum([torch.ones(1)])
        return b""

    start = time.monotonic()
    with pytest.raises(CommunicationError):
        gang(spark, work)
    assert time.monotonic() - start < 20
    assert gang(spark, add_ranks) == [b"0:3.0", b"1:3.0"]


def test_a_rank_that_never_comes_is_given_up_by_the_deadline(spark: SparkSession) -> None:
    def never(*_: object) -> None:
        time.sleep(60)

    class Slow:
        """Unpickled in the worker, before anything of the gang runs there."""

        def __reduce__(self) -> tuple[Any, ...]:
            return never, ()

    slow = Slow()
    with pytest.raises(CommunicationError, match=r"ranks \[0, 1\] of 2 did not start within 3 s"):
        gang(spark, lambda member: repr(slow).encode(), start_seconds=3)


def test_a_rank_that_falls_silent_is_given_up(spark: SparkSession) -> None:
    def work(member: Member) -> bytes:
        if member.world.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        return b""

    with pytest.raises(CommunicationError, match=r"nothing was heard of rank 1 on .* for 4 s"):
        gang(spark, work, silence_seconds=4)


@pytest.mark.slow
def test_a_rank_that_computes_long_without_letting_go_of_pythons_lock_is_kept(spark: SparkSession) -> None:
    def work(member: Member) -> bytes:
        # PyDLL calls hold the lock: no other thread of the process runs meanwhile.
        ctypes.PyDLL(None).sleep(30)
        return b"at last"

    assert gang(spark, work) == [b"at last"] * 2


def test_a_path_that_is_not_shared_is_refused_by_the_hosts_name(spark: SparkSession, tmp_path: Path) -> None:
    here = socket.gethostname()
    with pytest.raises(WorkerFailed, match=f"{here} cannot see .*/nowhere"):
        gang(spark, add_ranks, probe=Probe(read=((str(tmp_path), "nowhere"),)))


def test_a_shared_path_passes_and_stays_clean(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("by all")
    gang(spark, add_ranks, probe=Probe(read=((str(tmp_path), "seen"),), write=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_news_that_nobody_can_handle_never_stop_a_job(spark: SparkSession) -> None:
    def refuse(event: dict[str, Any]) -> None:
        raise OSError("the terminal is gone")

    def work(member: Member) -> bytes:
        member.tell({"not JSON": object()})
        for number in range(5000):
            member.tell({"number": number})
        return add_ranks(member)

    assert gang(spark, work, on_event=refuse) == [b"0:3.0", b"1:3.0"]


def test_what_cannot_be_sent_is_said_before_the_start(spark: SparkSession) -> None:
    lock = socket.socket()
    with pytest.raises(EchelonError, match="cannot be sent"):
        gang(spark, lambda member: repr(lock).encode())
