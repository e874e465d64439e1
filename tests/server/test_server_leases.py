from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.errors import EchelonError
from echelon.server.leases import Lease, Leases, Outcome, Reached

FOREVER = 1e9


def new(streams: int = 2, steps: int = 10, epochs: int = 2, most: int = 4) -> Leases:
    return Leases(steps, steps * epochs, most, [Reached()] * streams)


def granted(leases: Leases, worker: int, now: float = 0.0, seconds: float = FOREVER) -> Lease:
    lease = leases.grant(worker, now, seconds)
    assert lease is not None
    return lease


def test_a_worker_goes_on_with_its_own_stream_and_no_lease_crosses_an_epoch() -> None:
    leases = new(most=4)
    spans = []
    for _ in range(3):
        lease = granted(leases, 1)
        spans.append((lease.stream, lease.epoch, lease.first, lease.steps))
        leases.commit(lease.token, 0.0)
    assert spans == [(1, 0, 0, 4), (1, 0, 4, 4), (1, 0, 8, 2)]


def test_a_worker_without_steps_of_its_own_helps_the_stream_with_most_left_before_the_next_epoch() -> None:
    leases = new(streams=3, steps=8, epochs=2, most=4)
    for _ in range(2):
        leases.commit(granted(leases, 0).token, 0.0)
    leases.commit(granted(leases, 1).token, 0.0)
    helping = granted(leases, 0)
    assert (helping.stream, helping.epoch) == (2, 0)


def test_who_helps_and_who_is_helped_both_go_on_in_order() -> None:
    leases = new(streams=2, steps=16, epochs=1, most=2)
    for _ in range(8):
        leases.commit(granted(leases, 0).token, 0.0)
    firsts: dict[int, list[int]] = {0: [], 1: []}
    for turn in range(8):
        lease = granted(leases, turn % 2)
        assert lease.stream == 1
        firsts[turn % 2].append(lease.first)
        leases.commit(lease.token, 0.0)
    assert firsts == {0: [8, 10, 12, 14], 1: [0, 2, 4, 6]}
    assert leases.done


def test_an_epoch_ends_without_waiting_for_who_is_slow() -> None:
    leases = new(streams=2, steps=4, epochs=2, most=4)
    slow = granted(leases, 1)
    leases.commit(granted(leases, 0).token, 0.0)
    following = granted(leases, 0)
    assert (following.stream, following.epoch) == (0, 1)
    assert leases.commit(slow.token, 0.0)[0] is Outcome.APPLIED


def test_a_lease_is_committed_once_and_an_expired_one_never() -> None:
    leases = new()
    first = granted(leases, 0, now=0.0, seconds=5.0)
    assert leases.commit(first.token, 1.0) == (Outcome.APPLIED, first)
    assert leases.commit(first.token, 2.0) == (Outcome.REPEATED, None)
    late = granted(leases, 0, now=2.0, seconds=5.0)
    assert leases.commit(late.token, 7.0) == (Outcome.REFUSED, None)
    again = granted(leases, 1, now=8.0)
    while (again.stream, again.first) != (late.stream, late.first):
        assert again.epoch == late.epoch
        leases.commit(again.token, 8.0)
        again = granted(leases, 1, now=8.0)
    with pytest.raises(EchelonError, match="never was a lease 99"):
        leases.commit(99, 9.0)


def test_a_renewed_lease_lasts_and_one_that_expired_cannot_be_renewed() -> None:
    leases = new()
    lease = granted(leases, 0, now=0.0, seconds=5.0)
    assert leases.renew(lease.token, 4.0, 5.0)
    assert leases.renew(lease.token, 8.0, 5.0)
    assert not leases.renew(lease.token, 13.0, 5.0)
    assert leases.commit(lease.token, 13.0)[0] is Outcome.REFUSED


def test_a_worker_that_asks_again_gives_up_what_it_held() -> None:
    leases = new()
    lost, again = granted(leases, 0), granted(leases, 0)
    assert (lost.stream, lost.first, lost.steps) == (again.stream, again.first, again.steps)
    assert leases.commit(lost.token, 0.0)[0] is Outcome.REFUSED
    assert leases.commit(again.token, 0.0)[0] is Outcome.APPLIED


def test_the_serial_counts_what_is_leased_and_stays_within_the_run() -> None:
    leases = new(streams=2, steps=5, epochs=1, most=2)
    one, two = granted(leases, 0), granted(leases, 1)
    assert (one.serial, two.serial) == (0, 2)
    leases.release(1)
    assert granted(leases, 1).serial == 2


def test_a_position_that_nothing_can_have_reached_is_refused() -> None:
    with pytest.raises(EchelonError, match="no stream can have reached 5"):
        Reached(5, ((3, 7),))


def test_a_run_resumed_with_fewer_steps_than_a_stream_has_done_forgets_none() -> None:
    before = (Reached(7, ((9, 12),)), Reached(2))
    shorter = Leases(10, 8, 4, before)
    while (lease := shorter.grant(0, 0.0, FOREVER)) is not None:
        shorter.commit(lease.token, 0.0)
    assert shorter.done
    assert shorter.reached() == (Reached(8, ((9, 12),)), Reached(8))


# What may happen to leases: who asks, commits, repeats, is lost, and how time goes by.
_moves = st.lists(st.tuples(st.sampled_from(["ask", "commit", "repeat", "wait", "lose", "resume"]), st.integers(0, 4)))


@settings(max_examples=200, deadline=None)
@given(moves=_moves, streams=st.integers(1, 4), steps=st.integers(1, 7), most=st.integers(1, 5))
def test_whatever_happens_every_step_is_committed_exactly_once(
    moves: list[tuple[str, int]], streams: int, steps: int, most: int
) -> None:
    epochs, now = 2, 0.0
    leases = new(streams, steps, epochs, most)
    held: dict[int, Lease] = {}
    seen: list[Lease] = []
    done: list[tuple[int, int]] = []

    def commit(lease: Lease) -> None:
        outcome, applied = leases.commit(lease.token, now)
        assert (outcome is Outcome.APPLIED) == (applied is not None)
        if applied is not None:
            begin = applied.epoch * steps + applied.first
            done.extend((applied.stream, step) for step in range(begin, begin + applied.steps))

    for move, worker in moves:
        if move == "ask":
            lease = leases.grant(worker, now, 3.0)
            if lease is not None:
                held[worker] = lease
                seen.append(lease)
        elif move == "commit" and worker in held:
            commit(held.pop(worker))
        elif move == "repeat" and seen:
            commit(seen[worker % len(seen)])
        elif move == "lose":
            leases.release(worker)
        elif move == "resume":
            leases, held, seen = Leases(steps, steps * epochs, most, leases.reached()), {}, []
        now += 1.0
    while (lease := leases.grant(0, now, FOREVER)) is not None or not leases.done:
        if lease is not None:
            commit(lease)
        now += 4.0
    assert sorted(done) == [(stream, step) for stream in range(streams) for step in range(steps * epochs)]
    assert leases.reached() == (Reached(steps * epochs),) * streams
    assert leases.committed == streams * steps * epochs
