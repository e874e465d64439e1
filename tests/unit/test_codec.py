"""Numbers in fewer bytes: how far they are off, how many bytes they take, and what is not a number."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echelon.sync.codec import CHUNK, Bf16, Codec, Int8

CODECS = (Bf16(), Int8())


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 3), length=st.sampled_from([1, 2, 7, 255, CHUNK, CHUNK + 1, 3000]),
    power=st.integers(-30, 30), seed=st.integers(0, 9),
)  # fmt: skip
def test_numbers_come_back_within_half_a_unit(rows: int, length: int, power: int, seed: int) -> None:
    for codec in CODECS:
        padded = codec.padded(length)
        assert length <= padded < length + CHUNK
        values = torch.randn(rows, padded, generator=torch.Generator().manual_seed(seed)) * 10.0**power
        error = (codec.decode(codec.encode(values), padded) - values).abs()
        if isinstance(codec, Bf16):
            assert bool((error <= values.abs() / 2**8).all())
        else:
            chunks = (rows, -1, min(CHUNK, padded))
            largest = values.reshape(chunks).abs().amax(2, keepdim=True)
            assert bool((error.reshape(chunks) <= largest / 254 * 1.0001).all())


def test_bytes() -> None:
    values = torch.randn(2, 8 * CHUNK)
    assert Bf16().encode(values).shape == (2, 16 * CHUNK)
    assert Int8().encode(values).shape == (2, 8 * CHUNK + 8 * 4)


@pytest.mark.parametrize("codec", CODECS, ids=["bf16", "int8"])
def test_zeros_stay_zeros_and_whole_numbers_whole(codec: Codec) -> None:
    values = torch.zeros(1, 2 * CHUNK)
    values[0, :CHUNK] = torch.arange(CHUNK) % 255 - 127.0
    assert torch.equal(codec.decode(codec.encode(values), 2 * CHUNK), values)


@pytest.mark.parametrize("codec", CODECS, ids=["bf16", "int8"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_hidden(codec: Codec, odd: float) -> None:
    values = torch.ones(2, 2 * CHUNK)
    values[0, 5] = odd
    found = codec.decode(codec.encode(values), 2 * CHUNK)
    assert not found[0, 5].isfinite()
    assert torch.equal(found[1], values[1])
    assert torch.equal(found[0, CHUNK:], values[0, CHUNK:]), "other chunks are not touched"


def test_slices_of_encoded_rows_are_decoded() -> None:
    """Parts of what was received begin at any byte."""
    values = torch.randn(3, 30)
    data = Int8().encode(values)
    for row in range(3):
        assert torch.equal(Int8().decode(data[row : row + 1], 30), Int8().decode(data, 30)[row : row + 1])
