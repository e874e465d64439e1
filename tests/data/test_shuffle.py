"""The shuffle: keys are a pure function of their arguments, and its order is theirs for any amount of memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.data.shuffle import bucket_of, shuffle_keys, shuffled

SEEDS = st.integers(0, 2**63)


@given(SEEDS, st.integers(0, 10**6), st.integers(0, 10**12), st.lists(st.integers(0, 50), max_size=6))
def test_keys_do_not_depend_on_how_rows_come_in_batches(seed: int, item: int, first: int, sizes: list[int]) -> None:
    whole = shuffle_keys(seed, item, first, sum(sizes))
    starts = first + np.cumsum([0, *sizes])
    pieces = [shuffle_keys(seed, item, int(s), n) for s, n in zip(starts[:-1], sizes, strict=True)]
    np.testing.assert_array_equal(np.concatenate([np.empty(0, np.int64), *pieces]), whole)


def test_keys_are_uniform_and_differ_by_seed_and_item() -> None:
    keys = {(seed, item): shuffle_keys(seed, item, 0, 20_000) for seed in (0, 1) for item in (0, 1)}
    for found in keys.values():
        assert found.min() >= 0
        counts = np.bincount(bucket_of(found, 20), minlength=20)
        assert len(counts) == 20
        assert abs(counts - 1000).max() < 6 * 1000**0.5
    assert len(np.unique(np.concatenate(list(keys.values())))) == 80_000


@given(st.integers(1, 2**31), st.lists(st.integers(0, 2**63 - 1), min_size=1))
def test_buckets_in_turn_are_in_the_keys_order(buckets: int, values: list[int]) -> None:
    keys = np.sort(np.asarray(values, dtype=np.int64))
    found = bucket_of(keys, buckets)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() < buckets
    assert bucket_of(np.asarray([0, 2**63 - 1]), buckets).tolist() == [0, buckets - 1]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 100), max_size=6), st.sampled_from([200, 3000, 10**6]), st.integers(0, 9))
def test_the_order_is_that_of_the_keys_for_any_memory(sizes: list[int], memory: int, seed: int) -> None:
    starts = np.cumsum([0, *sizes])
    batches = [pa.record_batch({"n": np.arange(s, s + size)}) for s, size in zip(starts[:-1], sizes, strict=True)]
    found = [n for batch in shuffled(batches, seed, memory) for n in batch.column("n").to_pylist()]
    assert found == np.argsort(shuffle_keys(seed, 0, 0, sum(sizes))).tolist()


def test_a_row_larger_than_the_memory_is_carried_all_the_same() -> None:
    batches = [pa.record_batch({"x": pa.array([bytes([n]) * 100_000], pa.binary())}) for n in range(20)]
    found = [cell for batch in shuffled(batches, 0, 1000) for cell in batch.column("x").to_pylist()]
    assert Counter(cell[0] for cell in found) == Counter(range(20))
    assert {len(cell) for cell in found} == {100_000}


def test_rows_that_wait_are_given_back_when_the_reader_stops(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files")
    before = len(list(descriptors.iterdir()))
    batches = (pa.record_batch({"n": np.arange(1000)}) for _ in range(50))
    reader = shuffled(batches, 0, 10_000, str(tmp_path))
    next(reader)
    assert len(list(descriptors.iterdir())) > before
    assert list(tmp_path.iterdir()) == []
    reader.close()
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize("arguments", [(-1, 0, 0, 1), (0, -1, 0, 1), (0, 0, -1, 1)])
def test_negative_arguments_are_refused(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        shuffle_keys(*arguments)
