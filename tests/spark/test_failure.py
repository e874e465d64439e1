"""What is told of a failed gang; and where its members meet."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
import torch.distributed as dist

from echelon.errors import CommunicationError, DataError, StorageError
from echelon.interfaces import interface_of
from echelon.spark.failure import Failure, WorkerFailed, describe, from_spark, root_cause, to_error
from echelon.spark.pulse import Watch
from echelon.spark.rendezvous import Rendezvous, connect, local_places, own_address


def failure(error: Exception, rank: int, order: int) -> Failure:
    """As it arrives at the driver."""
    return Failure.from_json(describe(error, rank, f"host{rank}", order).to_json())


def test_the_first_error_that_is_no_echo_of_a_lost_peer_is_the_root_cause() -> None:
    echo = failure(CommunicationError("Connection closed by peer"), 0, 1)
    own = failure(ValueError("bad label"), 2, 2)
    later = failure(KeyError("x"), 1, 3)
    assert root_cause([later, echo, own]) == own
    assert root_cause([echo]) == echo
    assert root_cause([]) is None
    raw = failure(RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), 0, 1)
    assert raw.kind == "communication"


def test_the_drivers_error_says_who_and_what() -> None:
    error = to_error(failure(ValueError("bad label"), 2, 1))
    assert isinstance(error, WorkerFailed)
    assert (error.rank, error.host) == (2, "host2")
    assert str(error).startswith("rank 2 on host2 failed: ValueError: bad label\n\n")
    # An error of Echelon says enough by itself.
    assert str(to_error(failure(DataError("part-0 is damaged"), 1, 1))) == "rank 1 on host1 failed: part-0 is damaged"
    assert isinstance(to_error(failure(StorageError("disk full"), 1, 1)), StorageError)
    lost = to_error(failure(CommunicationError("sum failed"), 0, 1), lost=["rank 1 on host1"])
    assert isinstance(lost, CommunicationError)
    assert str(lost) == "rank 1 on host1 died without a word; rank 0 on host0 reports: sum failed"


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("Job aborted: org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)",
         CommunicationError, "exited unexpectedly"),
        ("Stage failed because ExecutorLostFailure (executor 1 exited)", CommunicationError, "ExecutorLost"),
        ("x\nTraceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'echelon'\n\tat org.x",
         WorkerFailed, "install Echelon on the workers too"),
        ("Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'mine.models'\n\tat org.x",
         WorkerFailed, "install 'mine' on the workers too, or send it with them: --conf spark.submit.pyFiles=mine.py"),
        ("Traceback (most recent call last):\n  File\nechelon.errors.StorageError: disk full",
         StorageError, "disk full"),
        ("Traceback (most recent call last):\n  File\nechelon.errors.CommunicationError: no driver",
         CommunicationError, "no driver"),
    ],
)  # fmt: skip
def test_what_spark_alone_says_is_sorted(said: str, kind: type[Exception], told: str) -> None:
    error = from_spark(RuntimeError(said))
    assert type(error) is kind
    assert told in str(error)
    assert str(error).count("No module named") == said.count("No module named")


def test_ranks_of_a_host_are_counted_by_host() -> None:
    assert local_places(["a", "b", "a", "a", "b"]) == [(0, 3), (0, 2), (1, 3), (2, 3), (1, 2)]


def test_a_worker_names_its_interface_towards_the_driver() -> None:
    assert own_address("127.0.0.1", "127.0.0.1") == "127.0.0.1"
    assert interface_of("127.0.0.1") in ("lo", "lo0")
    assert own_address("no-such-host.invalid", "127.0.0.1") == "127.0.0.1"


def test_attempts_do_not_see_each_others_keys() -> None:
    old, new = (Rendezvous("127.0.0.1", "127.0.0.1", "run", attempt) for attempt in (1, 2))
    member = connect(old.address, 5)
    member.set("present/0", "from attempt 1")
    assert old.store.get("present/0") == b"from attempt 1"
    assert not new.store.check(["present/0"])


def test_the_store_listens_on_one_address_only() -> None:
    meeting = Rendezvous("127.0.0.1", "127.0.0.1", "run", 1)
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", meeting.address.port))


def test_a_driver_that_cannot_be_reached_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        meeting = Rendezvous("127.0.0.1", "127.0.0.1", "run", 1)
        nobody = type(meeting.address)("127.0.0.1", taken.getsockname()[1], "run", 1)
        with pytest.raises(CommunicationError, match=r"cannot reach the driver at 127\.0\.0\.1:\d+ within 1 s"):
            connect(nobody, 1)
    with pytest.raises(CommunicationError, match=r"cannot listen on 192\.0\.2\.77"):
        Rendezvous("192.0.2.77", "x", "run", 1)


def test_only_silent_ranks_that_should_work_are_given_up() -> None:
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=1))
    watch = Watch(store, 3, None)
    for rank in range(3):
        store.set(f"present/{rank}", f'{{"rank": {rank}, "host": "h{rank}", "address": "127.0.0.1", "pid": 1}}')
    store.set("done/1", "")
    watch.poll()
    store.set("beat/2", "1")
    assert watch.missing() == []
    assert [present.rank for present in watch.silent(-1)] == [0, 2]
    assert watch.silent(60) == []
    assert watch.wordless() == ["rank 0 on h0", "rank 2 on h2"]
