"""The manifest: what it says comes back, and a file that is not the one it means is named."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numbered_rows import SCHEMA, batches, labels_of

from echelon.data.manifest import MANIFEST, Asset, DataFile, Dataset, Manifest, RowGroup, open_dataset
from echelon.data.parts import open_part
from echelon.data.write import write_dataset
from echelon.errors import DataError

FILE = DataFile("split=train/part-00000.parquet", 1000, "ab" * 32, (RowGroup(10, 400), RowGroup(3, 120)))
WHOLE = Manifest(
    SCHEMA,
    {"train": (FILE, FILE), "test": ()},
    {"classes": ["ä"], "nested": {"x": [1, None]}},
    {"mean": Asset("_assets/mean.npy", 128, "cd" * 32)},
    shuffled=True,
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Uncompressed, so that a changed byte is found by its checksum and not by the decompressor."""
    return write_dataset(
        str(tmp_path / "d"),
        SCHEMA,
        {"train": batches(600)},
        row_group_mb=0.02,
        compression="none",
        assets={"m": np.ones(2)},
    )


def file_of(dataset: Dataset) -> Path:
    return Path(dataset.url) / dataset.manifest.files("train")[0].path


def test_a_manifest_comes_back_from_json() -> None:
    again = Manifest.from_json(json.loads(json.dumps(WHOLE.to_json())))
    assert again == WHOLE
    assert again.digest == WHOLE.digest
    assert again.rows("train") == 26
    assert again.rows("test") == 0
    with pytest.raises(DataError, match="no split 'val' in this dataset; there are: train, test"):
        again.rows("val")


def test_the_digest_changes_with_everything_but_places() -> None:
    def changed(*path: str | int, value: object) -> str:
        content = json.loads(json.dumps(WHOLE.to_json()))
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return Manifest.from_json(content).digest

    same = {
        changed("data_url", value="s3://elsewhere/x"),
        changed("splits", "train", 0, "path", value="split=train/part-00000-retried.parquet"),
        changed("assets", "mean", "path", value="_assets/other.npy"),
    }
    different = {
        changed("schema", 1, "dtype", value="int32"),
        changed("splits", "train", 0, "digest", value="ef" * 32),
        changed("splits", "train", 0, "size", value=1001),
        changed("splits", "train", 1, "row_groups", 0, value=[9, 400]),
        changed("splits", "test", value=[FILE.to_json()]),
        changed("assets", "mean", "digest", value="ef" * 32),
        changed("info", "classes", value=[]),
        changed("shuffled", value=False),
    }
    assert same == {WHOLE.digest}
    assert len(different) == 8
    assert WHOLE.digest not in different


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": "echelon dataset", "version": 99}', "has version 99, this Echelon reads version 1"),
        (b'{"format": "other"}', "does not describe a dataset"),
        (b"[]", "does not describe a dataset"),
        (b'{"format": "echelon dataset", "version": 1}', "is damaged"),
        (b'{"format": "echelon', "is not JSON"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path))
    assert str(tmp_path / MANIFEST) in str(caught.value)


def test_what_is_no_dataset_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is nothing at .*: check the path, or prepare"):
        open_dataset(str(tmp_path / "typo"))
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"is not a dataset \(no _manifest.json\): prepare one .* or adopt"):
        open_dataset(str(tmp_path))


def test_a_dataset_can_be_moved_and_pickled(dataset: Dataset, tmp_path: Path) -> None:
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    moved = Path(dataset.url).rename(tmp_path / "moved")
    again = open_dataset(str(moved))
    assert again.digest == dataset.digest
    assert sorted(labels_of(again)) == list(range(600))


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(place: float) -> Callable[[bytes], bytes]:
    """Turn one byte at a part of the way through the file."""

    def change(content: bytes) -> bytes:
        at = int(len(content) * place)
        return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, r"bytes, the manifest says \d+: it was truncated or changed"),
        (lambda content: content + b"x", "it was truncated or changed"),
        (lambda content: b"", "has 0 bytes"),
        (flip(0.3), "is damaged in row groups"),
        (lambda content: content[:-20] + bytes(16) + content[-4:], "does not end like a Parquet|was changed"),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "its footer differs"),
    ],
)
def test_a_changed_file_is_named(dataset: Dataset, change: Callable[[bytes], bytes], message: str) -> None:
    path = file_of(dataset)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        labels_of(dataset)
    assert str(path) in str(caught.value)


def test_no_changed_byte_goes_unnoticed(dataset: Dataset) -> None:
    """Anywhere in the file: what is read is either the right rows or an error."""
    path = file_of(dataset)
    content = path.read_bytes()
    expected = labels_of(dataset)
    for place in np.linspace(0.001, 0.999, 60):
        path.write_bytes(flip(place)(content))
        try:
            np.testing.assert_array_equal(labels_of(dataset), expected)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 (either outcome is right)


def test_a_missing_file_is_named_with_its_dataset(dataset: Dataset) -> None:
    file_of(dataset).unlink()
    with pytest.raises(DataError, match="restore it or prepare again") as caught:
        open_part(dataset, dataset.manifest.files("train")[0])
    assert str(file_of(dataset)) in str(caught.value)
    (Path(dataset.url) / "_assets" / "m.npy").unlink()
    with pytest.raises(DataError, match=r"m\.npy, which belongs to this dataset"):
        dataset.asset("m")


def test_files_of_another_dataset_with_the_same_size_are_not_taken(tmp_path: Path) -> None:
    one, other = (
        write_dataset(str(tmp_path / str(seed)), SCHEMA, {"a": batches(50)}, shuffle_seed=seed, compression="none")
        for seed in (0, 1)
    )
    (file,), (foreign,) = one.manifest.files("a"), other.manifest.files("a")
    assert file.size == foreign.size
    (Path(one.url) / file.path).write_bytes((Path(other.url) / foreign.path).read_bytes())
    with pytest.raises(DataError, match="its footer differs"):
        labels_of(one, "a")
