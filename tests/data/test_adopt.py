"""Adopting plain Parquet: the rows are the file's own, and what cannot be understood is said at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numbered_rows import SCHEMA, batches, labels_of

from echelon.data.adopt import adopt
from echelon.data.groups import RowGroups
from echelon.data.manifest import MANIFEST, Dataset, open_dataset
from echelon.data.schema import Column
from echelon.data.storage import Storage, open_storage
from echelon.data.write import write_dataset
from echelon.errors import DataError

ROWS = 500
IMAGES = np.random.default_rng(0).integers(0, 256, (ROWS, 3, 4, 5), dtype=np.uint8)
FEATURES = np.random.default_rng(1).normal(size=(ROWS, 7)).astype(np.float32)
WORDS = [np.arange(n % 5, dtype=np.int64) for n in range(ROWS)]


def plain() -> pa.Table:
    """Every layout that other programs write tensors, lists, numbers and texts in."""
    return pa.table(
        {
            "image": pa.array([image.tobytes() for image in IMAGES], pa.binary()),
            "image_large": pa.array([image.tobytes() for image in IMAGES], pa.large_binary()),
            "image_fixed": pa.array([image.tobytes() for image in IMAGES], pa.binary(60)),
            "features": pa.array(FEATURES.tolist(), pa.list_(pa.float32())),
            "features_large": pa.array(FEATURES.tolist(), pa.large_list(pa.float32())),
            "features_fixed": pa.array(FEATURES.tolist(), pa.list_(pa.float32(), 7)),
            "words": pa.array([word.tolist() for word in WORDS], pa.list_(pa.int64())),
            "label": pa.array(range(ROWS), pa.int32()),
            "weight": pa.array(np.arange(ROWS) / 4, pa.float64()),
            "is_new": pa.array([n % 3 == 0 for n in range(ROWS)], pa.bool_()),
            "name": pa.array([f"row {n}" for n in range(ROWS)], pa.string()),
            "kind": pa.array([f"kind {n % 3}" for n in range(ROWS)]).dictionary_encode(),
        }
    )


IMAGE_COLUMNS = [Column(name, "uint8", (3, 4, 5)) for name in ("image", "image_large", "image_fixed")]
OTHERS = ["features", "features_large", "features_fixed", "words", "label", "weight", "is_new", "name", "kind"]


def values_of(dataset: Dataset, split: str = "train") -> dict[str, Any]:
    groups = RowGroups(dataset, split)
    found = [groups.decode(group) for group in range(len(groups))]
    return {name: [row for values in found for row in values[name]] for name in dataset.schema.names}


def test_every_layout_gives_its_values(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(plain(), tmp_path / "in" / "a.parquet", row_group_size=100)
    adopt(tmp_path / "in", tmp_path / "manifest", [*IMAGE_COLUMNS, *OTHERS])
    dataset = open_dataset(str(tmp_path / "manifest"))
    assert {column.name: (column.dtype, column.shape) for column in dataset.schema.columns[3:]} == {
        "features": ("float32", (7,)),
        "features_large": ("float32", (7,)),
        "features_fixed": ("float32", (7,)),
        "words": ("int64", (None,)),
        "label": ("int32", ()),
        "weight": ("float64", ()),
        "is_new": ("bool", ()),
        "name": ("string", ()),
        "kind": ("string", ()),
    }
    values = values_of(dataset)
    for column in IMAGE_COLUMNS:
        np.testing.assert_array_equal(values[column.name], IMAGES)
    for name in ("features", "features_large", "features_fixed"):
        np.testing.assert_array_equal(values[name], FEATURES)
    for word, expected in zip(values["words"], WORDS, strict=True):
        np.testing.assert_array_equal(word, expected)
    assert values["label"] == list(range(ROWS))
    assert values["weight"] == [n / 4 for n in range(ROWS)]
    assert values["is_new"] == [n % 3 == 0 for n in range(ROWS)]
    assert values["name"] == [f"row {n}" for n in range(ROWS)]
    assert values["kind"] == [f"kind {n % 3}" for n in range(ROWS)]
    assert not dataset.manifest.shuffled


def test_pandas_files_are_adopted_in_place_with_their_splits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": list(FEATURES), "y": np.arange(ROWS), "split": ["train"] * 400 + ["test"] * 100})
    frame.to_parquet(tmp_path / "in", partition_cols=["split"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "in").rglob("*")}
    dataset = adopt(str(tmp_path / "in"), str(tmp_path / "manifest"))
    assert dataset.splits == ("test", "train")
    np.testing.assert_array_equal(values_of(dataset, "train")["x"], FEATURES[:400])
    assert values_of(dataset, "test")["y"] == list(range(400, 500))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "in").rglob("*")} == before
    assert [path.name for path in (tmp_path / "manifest").iterdir()] == [MANIFEST]


def test_one_file_is_adopted_without_its_neighbours(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / f"{name}.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert adopt(tmp_path / "a.parquet", tmp_path / "m", split="val").rows("val") == 3
    (tmp_path / "m" / MANIFEST).rename(tmp_path / "_m.json")
    assert adopt(tmp_path, tmp_path / "all").rows("train") == 6


def test_our_own_files_are_understood_without_their_manifest(tmp_path: Path) -> None:
    write_dataset(str(tmp_path / "d"), SCHEMA, {"train": batches(50), "test": batches(9)}, shuffle_seed=None)
    (tmp_path / "d" / MANIFEST).unlink()
    dataset = adopt(tmp_path / "d", tmp_path / "m")
    assert dataset.schema == SCHEMA
    assert labels_of(dataset, "train").tolist() == list(range(50))
    assert labels_of(dataset, "test").tolist() == list(range(9))


def test_files_on_s3_are_adopted_by_a_manifest_on_disk(s3: str, tmp_path: Path) -> None:
    storage = open_storage(f"{s3}/{tmp_path.name}")
    with storage.open_output("part 1.parquet") as file:
        pq.write_table(plain().select(OTHERS), file)
    dataset = adopt(storage.url, tmp_path / "m", ["label", "features"])
    np.testing.assert_array_equal(values_of(dataset)["features"], FEATURES)
    assert adopt(storage.url_of("part 1.parquet"), tmp_path / "m2", ["label"]).digest != dataset.digest


def test_lists_that_only_seem_equal_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    lists = [[1.0, 2.0]] * 2000 + [[1.0], [1.0, 2.0, 3.0]]
    pq.write_table(pa.table({"x": lists}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"2 values a row; row 2000 of 2002 has 1"):
        values_of(adopt(tmp_path / "a.parquet", tmp_path / "m"))
    varying = adopt(tmp_path / "a.parquet", tmp_path / "m2", [Column("x", "float64", (None,))])
    assert [row.tolist() for row in values_of(varying)["x"]] == lists


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ({"x": [b"1234"]}, None, r"holds binary cells: say what is in them, as in columns=\[Column\('x'"),
        ({"x": [b"1234"]}, [Column("x", "uint8", (5,))], r"a\.parquet: column 'x' should hold uint8 \[5\].* has 4"),
        ({"x": [b"12345"]}, [Column("x", "float32", (1,))], "cell of row 0 of 1 has 5 bytes"),
        ({"x": [{"a": 1}]}, None, "'x' has the type struct<a: int64>, which is no tensor"),
        ({"x": [[[1]]]}, None, "which is no tensor"),
        ({"x": pd.to_datetime(["2020-01-01"])}, None, "which is no tensor"),
        ({"x": [1, None]}, None, r"column 'x' has 1 nulls in .*a\.parquet"),
        ({"x": [[1, 2], [3, None]]}, None, "1 nulls within its lists"),
        ({"x": [1]}, ["y"], r"no column 'y' in .*a\.parquet; there are: x"),
        ({"x": [1.5]}, [Column("x", "int64")], "holds int64, got float64"),
        ({"split": [1]}, None, "a column cannot be called 'split'"),
        ({"x": pa.array([], pa.int64())}, None, "have no rows"),
    ],
)
def test_what_is_no_tensor_is_refused(tmp_path: Path, table: dict, columns: list | None, message: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        adopt(tmp_path, tmp_path / "manifest", columns)
    assert not (tmp_path / "manifest").exists()


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"has the type double in .*b\.parquet, but int64 in .*a\.parquet"):
        adopt(tmp_path, tmp_path / "m", ["x"])
    with pytest.raises(DataError, match=r"b\.parquet has no column 'y', which .*a\.parquet has"):
        adopt(tmp_path, tmp_path / "m", ["y"])
    (tmp_path / "b.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(DataError, match=r"b\.parquet does not end like a Parquet file"):
        adopt(tmp_path, tmp_path / "m")


def test_the_manifest_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds other files \(a\.parquet"):
        adopt(tmp_path, tmp_path)
    with pytest.raises(DataError, match="there are no Parquet files"):
        adopt(tmp_path / "empty", tmp_path / "m")


def test_a_file_that_changes_after_adoption_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    dataset = adopt(tmp_path / "a.parquet", tmp_path / "m")
    pq.write_table(pa.table({"x": [1, 3]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet was changed|a\.parquet has \d+ bytes"):
        values_of(dataset)


class Counting(io.FileIO):
    """A file that counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        Counting.total += len(content)
        return content


def test_of_a_large_row_group_only_the_beginning_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((20_000, 200), dtype=np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 200).cast(pa.list_(pa.float32()))
    pq.write_table(pa.table({"x": lists}), tmp_path / "rows.parquet")
    size = (tmp_path / "rows.parquet").stat().st_size
    assert pq.ParquetFile(tmp_path / "rows.parquet").num_row_groups == 1
    assert size > 15e6
    monkeypatch.setattr(Counting, "total", 0)
    monkeypatch.setattr(Storage, "open_input", lambda self, path: pa.PythonFile(Counting(tmp_path / path), mode="r"))
    assert adopt(tmp_path / "rows.parquet", tmp_path / "dataset").rows("train") == len(rows)
    assert 0 < Counting.total < size / 4
