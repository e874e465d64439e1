"""Which images are trained on and which are tested on."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_features import dataset_of, made_features, names_of

from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.recipes.pets.division import Divided, count_tested, drawn, held_out
from echelon.recipes.pets.problem import Problem

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, fraction=st.floats(0, 0.999), seed=st.integers(0, 9))
def test_each_breed_gives_its_part_whatever_the_order_of_the_images(labels, fraction, seed) -> None:
    array, keys = np.array(labels), [f"image {row}" for row in range(len(labels))]
    test = held_out(array, drawn(array, keys, seed), fraction)
    for breed in range(5):
        assert test[array == breed].sum() == count_tested(labels.count(breed), fraction)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = [keys[row] for row in order]
    assert (held_out(array[order], drawn(array[order], shuffled, seed), fraction) == test[order]).all()


def test_a_fraction_of_nothing_leaks_nothing_and_the_nearest_number_is_taken() -> None:
    assert [count_tested(n, 0.0) for n in (1, 10, 10_000)] == [0, 0, 0]
    assert [count_tested(n, 0.3) for n in (1, 2, 5, 10, 200)] == [0, 1, 2, 3, 60]
    assert [count_tested(n, 0.999) for n in (1, 10, 1000)] == [1, 10, 999]


def test_other_seeds_draw_other_images_and_a_new_breed_moves_none() -> None:
    labels, keys = np.arange(200) % 2, [str(row) for row in range(200)]
    first, second = (held_out(labels, drawn(labels, keys, seed), 0.3) for seed in (0, 1))
    assert 20 < (first != second).sum() < 120
    more = np.append(labels, np.full(50, 2))
    again = held_out(more, drawn(more, [*keys, *(f"other {row}" for row in range(50))], 0), 0.3)
    assert (again[:200] == first).all()


@pytest.mark.parametrize(("breed", "against", "kept"), [(None, "all", 5), ("Breed_01", "all", 5),
                                                       ("Breed_01", "Breed_03", 2)])  # fmt: skip
def test_what_is_written_are_the_rows_of_the_problem_each_once(breed, against, kept, tmp_path: Path) -> None:
    features, labels = made_features(103, 5, 12)
    source = dataset_of(tmp_path / "all", features, labels, 5)
    written = Divided(source, breed, against, 0.3, 7).write(str(tmp_path / "divided"))
    seen: dict[str, str] = {}
    for split in ("train", "test"):
        rows = written.rows(split)
        (batch,) = span_batches(written, split, None, 0, rows, rows)
        for key, label, values in zip(batch.strings("key"), batch["label"].tolist(), batch["features"], strict=True):
            row = int(key.rpartition("_")[2].removesuffix(".jpg"))
            assert key not in seen
            assert label == labels[row]
            assert (values.numpy() == features[row]).all()
            seen[key] = split
        assert written.info["counts"][split] == {
            name: sum(its == split and key.startswith(name) for key, its in seen.items()) for name in names_of(5)
        }
    assert len(seen) == sum(np.bincount(labels)[:kept]) if kept == 5 else len(seen) == 21 + 20
    assert sum(its == "test" for its in seen.values()) == {5: 30, 2: 12}[kept]


def test_without_a_test_part_there_is_no_such_split(tmp_path: Path) -> None:
    source = dataset_of(tmp_path / "all", *made_features(20, 2, 4), 2)
    written = Divided(source, None, "all", 0.0, 0).write(str(tmp_path / "divided"))
    assert list(written.splits) == ["train"]
    assert written.rows("train") == 20


def test_few_test_images_are_warned_of_and_none_to_train_on_refused(tmp_path: Path, caplog) -> None:
    source = dataset_of(tmp_path / "all", *made_features(140, 2, 4), 2)
    with caplog.at_level(logging.WARNING):
        Divided(source, None, "all", 0.3, 0).write(str(tmp_path / "enough"))
        assert not caplog.records
        Divided(source, None, "all", 0.2, 0).write(str(tmp_path / "few"))
    assert "fewer than 20 test images" in caplog.text
    assert "Breed_00 14" in caplog.text
    rare = dataset_of(tmp_path / "rare", *made_features(3, 2, 4), 2)
    with pytest.raises(DataError, match="no image of Breed_01 is left to train on"):
        Divided(rare, None, "all", 0.6, 0).write(str(tmp_path / "none"))


def test_problems_name_breeds_as_a_whole() -> None:
    classes = ("Bull", "Pit_Bull", "Siamese")
    with pytest.raises(EchelonError, match="there is no such breed; there are: Bull, Pit_Bull, Siamese"):
        Problem(classes, "Pit")
    with pytest.raises(EchelonError, match="--against Siamese needs --breed"):
        Problem(classes, None, "Siamese")
    with pytest.raises(EchelonError, match="both Bull"):
        Problem(classes, "Bull", "Bull")
    assert Problem(classes, "Bull", "Pit_Bull").counts([7, 5, 3]) == [5, 7]
    assert Problem(classes, "Bull").counts([7, 5, 3]) == [8, 7]
    assert Problem(classes, "Bull").answers == ("others", "Bull")
