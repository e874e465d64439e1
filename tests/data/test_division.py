"""Names are divided by a hash."""

from __future__ import annotations

import math

from echelon.data.division import TEST, TRAIN, Division

NAMES = [f"product {number}" for number in range(4000)]


def drawn(fraction: float, seed: int) -> set[str]:
    division = Division(fraction, seed)
    assert {division.split_of(name) for name in NAMES} <= {TRAIN, TEST}
    return {name for name in NAMES if division.split_of(name) == TEST}


def test_none_and_all_are_exact() -> None:
    """Trap: one item that leaks into validation at ratio 0."""
    assert drawn(0, 0) == set()
    assert drawn(1, 0) == set(NAMES)


def test_about_the_wanted_part_is_tested_and_a_larger_part_holds_a_smaller_one() -> None:
    few, more = drawn(0.1, 3), drawn(0.3, 3)
    assert few < more
    for found, fraction in ((few, 0.1), (more, 0.3)):
        assert abs(len(found) - 4000 * fraction) < 5 * math.sqrt(4000 * fraction * (1 - fraction))


def test_seeds_draw_independently() -> None:
    both = drawn(0.3, 0) & drawn(0.3, 1)
    assert abs(len(both) - 4000 * 0.09) < 5 * math.sqrt(4000 * 0.09 * 0.91)


def test_of_all_names_just_the_wanted_part_is_tested() -> None:
    for count in (1, 2, 3, 10, 37):
        for fraction in (0, 0.01, 0.1, 0.5, 0.99, 1):
            splits = Division(fraction, 5).split_all(NAMES[:count])
            wanted = math.floor(count * fraction + 0.5)
            if count > 1 and 0 < fraction < 1:
                wanted = min(max(wanted, 1), count - 1)
            assert splits.count(TEST) == wanted
            assert splits.count(TRAIN) == count - wanted


def test_the_order_of_names_does_not_matter_and_a_larger_part_holds_a_smaller_one() -> None:
    names = NAMES[:50]
    few = dict(zip(names, Division(0.2, 1).split_all(names)))
    assert dict(zip(names[::-1], Division(0.2, 1).split_all(names[::-1]))) == few
    more = dict(zip(names, Division(0.4, 1).split_all(names)))
    assert all(more[name] == TEST for name in names if few[name] == TEST)
    assert dict(zip(names, Division(0.2, 2).split_all(names))) != few
