"""Random numbers that belong to rows."""

from __future__ import annotations

import pytest
import torch

from echelon.data.keyed import Draw


def test_a_row_has_the_same_numbers_whatever_it_is_read_with() -> None:
    rows = torch.arange(1000)
    whole = Draw(7, 2, rows)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:77]
    part = Draw(7, 2, rows[order])
    assert torch.equal(part.uniform(3, salt=1), whole.uniform(3, salt=1)[order])
    assert torch.equal(part.integers(-4, 9, salt=2), whole.integers(-4, 9, salt=2)[order])


@pytest.mark.parametrize("other", [Draw(8, 2, torch.arange(5000)), Draw(7, 3, torch.arange(5000))])
def test_seeds_epochs_and_salts_are_independent(other: Draw) -> None:
    draw = Draw(7, 2, torch.arange(5000))
    for a, b in [(draw.uniform(1), other.uniform(1)), (draw.uniform(1), draw.uniform(1, salt=1))]:
        assert abs(float(torch.corrcoef(torch.cat([a, b], dim=1).T)[0, 1])) < 0.05


def test_the_numbers_are_uniform() -> None:
    draw = Draw(0, 0, torch.arange(20000))
    values = draw.uniform(4)
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    counts = torch.histc(values, bins=20, min=0, max=1)
    expected = values.numel() / 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 45  # chi-square with 19 degrees: p < 0.001
    integers = torch.bincount(draw.integers(0, 10))
    assert len(integers) == 10
    assert float(((integers - 2000) ** 2 / 2000).sum()) < 28
    with pytest.raises(ValueError, match="no integer"):
        draw.integers(3, 3)
