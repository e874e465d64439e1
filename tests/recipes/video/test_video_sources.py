"""Which files are taken, and to which split their videos belong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from echelon.data.division import TEST, TRAIN, VAL
from echelon.errors import DataError, EchelonError
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.sources import find_shards, split_by_name

NAMES = ("train0000.tfrecord", "train0001.tfrecord", "train0002.tfrecord", "train0003.tfrecord",
         "validate0000.tfrecord", "validate0001.tfrecord", "test0000.tfrecord")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*NAMES, "download-plan-frame-train.json", ".train9999.tfrecord", "train0004.tfrecord.wrong"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def taken(folder: Path | str, **options: object) -> dict[str, str | None]:
    _, shards = find_shards(str(folder), PrepareOptions(**options))  # type: ignore[arg-type]
    return {shard.path: shard.split for shard in shards}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train0001.tfrecord", TRAIN),
        ("trainaB.tfrecord", TRAIN),
        ("a/validate0001.tfrecord.gz", VAL),
        ("test/0001.tfrecord", TEST),
        ("train/validate/x.tfrecord", VAL),
        ("val/x.tfrecord", VAL),
        ("Validation/x.tfrecord", VAL),
        ("values/x.tfrecord", None),
        ("x.tfrecord", None),
    ],
)
def test_names_say_the_split(path: str, split: str | None) -> None:
    assert split_by_name(path) == split


def test_public_shards_are_divided_by_their_names(folder: Path) -> None:
    expected = {name: {"tr": TRAIN, "va": VAL, "te": TEST}[name[:2]] for name in NAMES}
    assert taken(folder) == expected
    assert taken(folder, split="names") == expected


def test_shards_of_one_name_are_divided_by_ids(folder: Path) -> None:
    assert taken(folder, files="validate*") == {"validate0000.tfrecord": None, "validate0001.tfrecord": None}
    assert set(taken(folder, split="ids").values()) == {None}
    assert taken(folder / "validate0001.tfrecord") == {"validate0001.tfrecord": None}


def test_all_is_for_testing_where_a_model_is_given(folder: Path) -> None:
    _, shards = find_shards(str(folder), PrepareOptions(files="train*"), everything=True)
    assert {shard.split for shard in shards} == {TEST}


def test_patterns_choose_by_name_or_path(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "train0009.tfrecord").write_bytes(b"")
    assert set(taken(folder, files="train000[01]*, test*")) == {NAMES[0], NAMES[1], NAMES[6]}
    assert set(taken(folder, files="more/*")) == {"more/train0009.tfrecord"}
    with pytest.raises(DataError, match=r"none of the 8 files at .* matches --files 'nothing\*'"):
        taken(folder, files="nothing*")


def test_a_larger_part_holds_the_smaller_one_and_every_split_keeps_some(folder: Path) -> None:
    parts = [taken(folder, fraction=fraction) for fraction in (0.01, 0.25, 0.5, 0.75, 1.0)]
    assert all(set(smaller) <= set(larger) for smaller, larger in pairwise(parts))
    assert [len(part) for part in parts] == [3, 3, 4, 6, 7]
    assert all(set(part.values()) == {TRAIN, VAL, TEST} for part in parts)


def test_what_cannot_be_used_is_said(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "other.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match=r"the names of 1 files, such as other.tfrecord, do not begin"):
        taken(folder, split="names")
    with pytest.raises(DataError, match="there are no files"):
        taken(tmp_path_factory.mktemp("empty"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.csv").write_bytes(b"")
    with pytest.raises(DataError, match=r"no TFRecord files .* there are 1 files \(1 with .csv\), such as a.csv"):
        taken(elsewhere)


@pytest.mark.parametrize(
    "wrong",
    [{"level": "both"}, {"split": "half"}, {"test_fraction": 1.0}, {"fraction": 0.0}, {"max_frames": 0},
     {"compression": "rar"}],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(EchelonError, match="--" + next(iter(wrong)).replace("_", "-")):
        PrepareOptions(**wrong)  # type: ignore[arg-type]
