"""Means of vectors between real processes: what arrives, what it costs on the wire, and what encoding loses."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest
import torch
from test_comm import together

from echelon.comm import Comm
from echelon.sync.codec import Encoding, codec_of
from echelon.sync.inflight import begin_mean
from echelon.world import World

NUMBERS = 300_001
ROUNDS = 40
ENCODINGS: tuple[Encoding, ...] = ("fp32", "bf16", "int8")
IO = Path("/proc/self/io")


def vector_of(rank: int) -> torch.Tensor:
    return torch.randn(NUMBERS, generator=torch.Generator().manual_seed(rank)) * 0.01


def written() -> int:
    """Bytes that this process gave to the system, sockets included."""
    return int(next(line for line in IO.read_text().splitlines() if line.startswith("wchar")).split()[1])


def _means(comm: Comm) -> dict[str, dict]:
    found = {}
    for encoding in ENCODINGS:
        lost = torch.zeros(NUMBERS)
        comm.meet()
        counted, real = comm.bytes_sent, written() if IO.exists() else 0
        flight = begin_mean(comm, vector_of(comm.world.rank), codec_of(encoding), lost)
        flight.poll()
        mean = flight.result()
        assert flight.result() is mean, "it may be asked for twice"
        counted, real = comm.bytes_sent - counted, (written() if IO.exists() else 0) - real
        exact = sum(vector_of(rank) for rank in range(comm.world.size)) / comm.world.size
        found[encoding] = {
            "bits": mean.view(torch.int32).long().sum().item(),
            "error": (mean - exact).abs().max().item(),
            "lost": lost.abs().max().item(),
            "counted": counted,
            "real": real,
        }
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_a_mean_is_close_has_the_same_bits_everywhere_and_costs_what_is_counted(tmp_path: Path, size: int) -> None:
    results = together(size, tmp_path, _means)
    largest = max(vector_of(rank).abs().max().item() for rank in range(size))
    # Of n parts and of their sum each is off by half a unit of its last place at most.
    bounds = {"fp32": 1e-8, "bf16": 2 * largest / 2**8, "int8": 2 * largest / 254}
    bytes_a_number = {"fp32": 4, "bf16": 2, "int8": 1 + 4 / 1024}
    for encoding in ENCODINGS:
        each = [result[encoding] for result in results]
        assert len({one["bits"] for one in each}) == 1
        assert each[0]["error"] <= bounds[encoding]
        assert (each[0]["lost"] > 0) == (encoding != "fp32")
        for one in each:
            ring = 2 * (size - 1) / size * NUMBERS * bytes_a_number[encoding]
            assert one["counted"] == pytest.approx(ring, rel=0.01)
            if one["real"]:
                assert one["real"] == pytest.approx(one["counted"], rel=0.02), "headers are few"


def _long_run(encoding: Encoding, forgetful: bool, comm: Comm) -> list[float]:
    lost, total = torch.zeros(NUMBERS), torch.zeros(NUMBERS, dtype=torch.float64)
    for _ in range(ROUNDS):
        total += begin_mean(comm, vector_of(comm.world.rank), codec_of(encoding), lost).result()
        if forgetful:
            lost.zero_()
    exact = sum(vector_of(rank).double() for rank in range(comm.world.size)) / comm.world.size
    left = lost.double()
    comm.sum([left])
    return [
        (total / ROUNDS - exact).abs().max().item(),
        (total + left / comm.world.size - ROUNDS * exact).abs().max().item(),
    ]


@pytest.mark.parametrize("encoding", ["bf16", "int8"])
def test_what_is_lost_is_sent_later_so_that_the_long_run_is_exact(tmp_path: Path, encoding: Encoding) -> None:
    for folder in ("kept", "forgotten"):
        (tmp_path / folder).mkdir()
    kept = together(3, tmp_path / "kept", partial(_long_run, encoding, False))
    forgotten = together(3, tmp_path / "forgotten", partial(_long_run, encoding, True))
    error, balance = kept[0]
    assert balance < 1e-6, "all that was sent and all that is still owed are all that there was"
    assert forgotten[0][0] > 5 * error
    assert error < 2 * 0.05 / 254 / ROUNDS * 5


def _empty(comm: Comm) -> list[float]:
    comm.meet()
    return begin_mean(comm, torch.zeros(0), codec_of("int8"), torch.zeros(0)).result().tolist()


def _tiny(comm: Comm) -> list[float]:
    mine = torch.tensor([1.0, -2.0]) if comm.world.is_first else torch.tensor([3.0, 0.0])
    return begin_mean(comm, mine, codec_of("int8"), torch.zeros(2)).result().tolist()


def test_fewer_numbers_than_ranks(tmp_path: Path) -> None:
    assert together(2, tmp_path, _empty) == [[], []]
    (tmp_path / "tiny").mkdir()
    first, *others = together(3, tmp_path / "tiny", _tiny)
    assert first == pytest.approx([7 / 3, -2 / 3], rel=1e-5)
    assert others == [first, first]


def test_one_process_takes_what_several_owed() -> None:
    owed = torch.ones(3)
    for expected in ([3.0, 3.0, 3.0], [2.0, 2.0, 2.0]):
        flight = begin_mean(Comm(World(0, 1)), torch.full((3,), 2.0), codec_of("int8"), owed)
        assert flight.result().tolist() == expected


def _one_goes(comm: Comm) -> None:
    comm.deadline("a round", 2)
    flight = begin_mean(comm, torch.ones(1000), codec_of("int8"), torch.zeros(1000))
    if comm.world.is_first:
        flight.result()


def test_a_peer_that_goes_between_two_stages_is_an_error_that_says_where(tmp_path: Path) -> None:
    message = together(2, tmp_path, _one_goes)[0]
    assert "a gathering of parts failed in phase 'a round'" in message


def _meanwhile(comm: Comm) -> list[float]:
    flight = begin_mean(comm, vector_of(comm.world.rank), codec_of("int8"), torch.zeros(NUMBERS))
    waited, end = comm.seconds, time.monotonic() + 20
    while flight._pending is not None and time.monotonic() < end:
        flight.poll()
        time.sleep(0.001)
    return [float(flight._pending is None), comm.seconds - waited]


def test_polling_alone_brings_it_to_its_end_without_waiting(tmp_path: Path) -> None:
    for ended, waited in together(2, tmp_path, _meanwhile):
        assert ended
        assert waited < 0.1
