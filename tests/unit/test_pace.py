"""A worker's pace: what is unusual does not count, what comes again and again does."""

from __future__ import annotations

import numpy as np
import pytest

from echelon.train.pace import BLOCKS, Pacer


def measured(seconds: np.ndarray, rows: int = 10, warm_up: int = 0) -> Pacer:
    pacer = Pacer(warm_up)
    for value in seconds.tolist():
        pacer.add(rows, value)
    return pacer


@pytest.mark.parametrize("steps", [8, 9, 50, 1000])
def test_steps_that_are_equal(steps: int) -> None:
    pace = measured(np.full(steps, 0.25)).pace()
    assert (pace.rows, pace.seconds, pace.error) == (10, 0.25, 0)


def test_the_first_steps_are_left_out() -> None:
    pacer = measured(np.r_[9.0, 9.0, np.full(BLOCKS - 1, 1.0)], warm_up=2)
    assert not pacer.ready
    with pytest.raises(ValueError, match="8 blocks of steps, and there are 7"):
        pacer.pace()
    pacer.add(10, 1.0)
    assert pacer.ready
    assert pacer.pace().seconds == 1.0


def test_one_long_pause_does_not_count() -> None:
    seconds = np.full(200, 0.1)
    seconds[77] = 30.0
    assert measured(seconds).pace().seconds == pytest.approx(0.1)


def test_a_pause_that_comes_again_and_again_counts_in_full() -> None:
    """A process that is stopped for a part of each period takes most steps at full speed, and some very long."""
    seconds = np.full(1000, 0.01)
    seconds[::10] += 0.08
    assert measured(seconds).pace().seconds == pytest.approx(0.018, rel=0.03)


def test_the_error_is_that_of_many_measurements() -> None:
    rng = np.random.default_rng(0)
    paces = [measured(1 + 0.2 * rng.standard_normal(128)).pace() for _ in range(300)]
    found, told = np.std([p.seconds for p in paces]), np.mean([p.error for p in paces])
    assert np.mean([p.seconds for p in paces]) == pytest.approx(1, abs=0.01)
    assert 0.5 < told / found < 1.5


def test_rows_are_the_mean_of_unequal_steps() -> None:
    pacer = Pacer()
    for step in range(64):
        pacer.add(10 + step % 2, 0.1)
    assert pacer.pace().rows == pytest.approx(10.5)
