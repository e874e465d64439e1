"""Writing: nothing is lost, nothing depends on how it was computed, and a killed writer leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from folders import tree
from numbered_rows import SCHEMA, batches, labels_of, rows_of
from xxhash import xxh3_128

from echelon.data.manifest import open_dataset
from echelon.data.part_writer import CONTENT_DIGEST
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError


def test_every_row_arrives_once_and_in_another_order(tmp_path: Path) -> None:
    dataset = write_dataset(str(tmp_path), SCHEMA, {"train": batches(2000), "test": batches(30)})
    labels = labels_of(open_dataset(dataset.url))
    assert sorted(labels) == list(range(2000))
    assert sorted(labels_of(dataset, "test")) == list(range(30))
    # In a random order a row is displaced by a third of all rows on average.
    assert np.abs(labels - np.arange(2000)).mean() == pytest.approx(2000 / 3, rel=0.1)
    assert dataset.manifest.shuffled


def test_without_a_seed_the_order_is_kept(tmp_path: Path) -> None:
    dataset = write_dataset(str(tmp_path), SCHEMA, {"train": batches(1000)}, shuffle_seed=None)
    assert labels_of(dataset).tolist() == list(range(1000))
    assert not dataset.manifest.shuffled


def test_files_depend_on_rows_and_seed_alone(tmp_path: Path) -> None:
    def written(name: str, size: int = 512, memory_mb: float = 512, seed: int = 0, rows: int = 3000) -> dict[str, str]:
        write_dataset(
            str(tmp_path / name),
            SCHEMA,
            {"train": batches(rows, size)},
            shuffle_seed=seed,
            memory_mb=memory_mb,
            row_group_mb=0.02,
        )
        return tree(tmp_path / name)

    first = written("first")
    assert written("other batches", size=77) == first
    assert written("one large batch", size=3000) == first
    assert written("spilled once", memory_mb=0.1) == first
    assert written("spilled twice", memory_mb=0.004) == first
    assert written("other seed", seed=1) != first
    assert written("other rows", rows=2999) != first


def test_row_groups_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    schema = Schema((Column("x", "uint8", (1000,)),))
    values = np.random.default_rng(0).integers(0, 256, (5000, 1000), dtype=np.uint8)
    dataset = write_dataset(str(tmp_path), schema, {"train": [{"x": values}]}, row_group_mb=1)
    (file,) = dataset.manifest.files("train")
    assert [group.rows for group in file.row_groups] == [1049, 1049, 1049, 1049, 804]
    assert [group.bytes for group in file.row_groups[:4]] == pytest.approx([2**20] * 4, rel=0.01)


def test_a_row_larger_than_a_row_group_is_one_of_its_own(tmp_path: Path) -> None:
    schema = Schema((Column("x", "float64", (None,)),))
    rows = [np.arange(n, dtype=np.float64) for n in (0, 50_000, 1, 50_000, 0)]
    dataset = write_dataset(str(tmp_path), schema, {"a": [{"x": rows}]}, row_group_mb=0.1, shuffle_seed=None)
    assert [group.rows for group in dataset.manifest.files("a")[0].row_groups] == [2, 2, 1]


def test_info_and_assets_come_back(tmp_path: Path) -> None:
    mean = np.random.default_rng(0).normal(size=(3, 8, 8))
    info = {"classes": ["ä", "b"], "skipped": 3}
    write_dataset(str(tmp_path), SCHEMA, {"train": batches(5)}, info=info, assets={"mean": mean})
    dataset = open_dataset(str(tmp_path))
    assert dataset.info == info
    np.testing.assert_array_equal(dataset.asset("mean"), mean)
    with pytest.raises(DataError, match=r"no asset 'std'.*there are: mean"):
        dataset.asset("std")
    (tmp_path / dataset.manifest.assets["mean"].path).write_bytes(b"changed")
    with pytest.raises(DataError, match=r"mean\.npy was changed"):
        dataset.asset("mean")


def test_the_digest_covers_every_value_and_no_place(tmp_path: Path) -> None:
    schema = Schema((Column("x", "float32", (64,)),))
    values = np.zeros((1000, 64), np.float32)

    def digest(name: str, rows: np.ndarray) -> str:
        return write_dataset(str(tmp_path / name), schema, {"a": [{"x": rows}]}, compression="none").digest

    changed = values.copy()
    changed[500, 3] = 1.0  # neither sizes nor statistics tell these files apart
    assert digest("a", values) == digest("b", values) != digest("c", changed)
    (file,) = open_dataset(str(tmp_path / "a")).manifest.files("a")
    content = (tmp_path / "a" / file.path).read_bytes()
    body = content[: -8 - int.from_bytes(content[-8:-4], "little")]
    said = pq.read_metadata(tmp_path / "a" / file.path).metadata[CONTENT_DIGEST.encode()]
    assert said.decode() == xxh3_128(body).hexdigest()


# Others read the files


def test_pandas_reads_the_folder(tmp_path: Path) -> None:
    write_dataset(
        str(tmp_path), SCHEMA, {"train": batches(100), "test": batches(10)}, assets={"mean": np.zeros(3)}, info={"a": 1}
    )
    table = pd.read_parquet(tmp_path).sort_values(["split", "label"])
    assert table["split"].tolist() == ["test"] * 10 + ["train"] * 100
    row = table.iloc[10 + 42]
    assert row["key"] == "row 42"
    np.testing.assert_array_equal(np.frombuffer(row["image"], "<f4").reshape(3, 4), rows_of(42, 43)["image"][0])
    assert len(row["frames"]) == 0  # 42 % 7


def test_duckdb_reads_the_folder(tmp_path: Path) -> None:
    write_dataset(str(tmp_path), SCHEMA, {"train": batches(100), "test": batches(10)})
    source = f"read_parquet('{tmp_path}/*/*.parquet', hive_partitioning = true)"
    assert duckdb.sql(f"select split, count(*), sum(label) from {source} group by split order by split").fetchall() == [
        ("test", 10, 45),
        ("train", 100, 4950),
    ]
    (cell,) = duckdb.sql(f"select image from {source} where split = 'train' and key = 'row 42'").fetchall()[0]
    np.testing.assert_array_equal(np.frombuffer(cell, "<f4").reshape(3, 4), rows_of(42, 43)["image"][0])


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"splits": {"tr/ain": []}}, "a split cannot be called 'tr/ain'"),
        ({"splits": {"train": []}}, "no rows were written"),
        ({"info": {"x": object()}}, "info must be JSON"),
        ({"info": {"x": float("nan")}}, "info must be JSON"),
        ({"compression": "zip"}, "unknown compression 'zip'"),
        ({"shuffle_seed": -1}, "must not be negative"),
        ({"assets": {"a/b": np.zeros(1)}}, "an asset cannot be called"),
        ({"assets": {"a": np.array([{}])}}, "the asset 'a' holds object"),
        ({"splits": {"train": [{"label": [1]}]}}, r"missing: \['frames', 'image', 'key'\]"),
        ({"splits": {"train": [rows_of(0, 4) | {"label": [1, 2]}]}}, "different numbers of rows"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_dataset(str(tmp_path), SCHEMA, **{"splits": {"train": batches(3)}, **arguments})
    with pytest.raises(DataError):
        open_dataset(str(tmp_path))
    assert write_dataset(str(tmp_path), SCHEMA, {"train": batches(3)}).rows("train") == 3


def test_a_full_disk_is_a_storage_error_that_names_the_file(tmp_path: Path) -> None:
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from numbered_rows import SCHEMA, batches
from echelon.data.write import write_dataset
from echelon.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
for arguments in ({{"shuffle_seed": None}}, {{"memory_mb": 0.1}}):
    try:
        write_dataset({str(tmp_path)!r}, SCHEMA, {{"train": batches(8000)}}, compression="none", **arguments)
    except StorageError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    writing, shuffling = done.stdout.splitlines()
    assert f"cannot write {tmp_path}/split=train/part-00000.parquet: " in writing
    assert "File too large" in writing
    assert "while they are shuffled" in shuffling
    assert "TMPDIR" in shuffling


# An object store


def test_a_dataset_on_s3_is_the_same_as_on_disk(s3: str, tmp_path: Path) -> None:
    url = f"{s3}/{tmp_path.name}"
    for overwrite in (False, True):
        write_dataset(url, SCHEMA, {"train": batches(700)}, assets={"mean": np.zeros(2)}, overwrite=overwrite)
    on_disk = write_dataset(str(tmp_path), SCHEMA, {"train": batches(700)}, assets={"mean": np.zeros(2)})
    dataset = open_dataset(url)
    assert dataset.digest == on_disk.digest
    assert labels_of(dataset).tolist() == labels_of(on_disk).tolist()
    assert [e.path for e in dataset.storage.list()] == sorted(tree(tmp_path))


# Memory


def test_the_shuffle_stays_within_its_memory() -> None:
    """160 MB through 16 MB; what comes on top is a row group, a part's metadata and the allocators' slack."""
    program = """
import resource, tempfile
import numpy as np
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

def rows():
    for number in range(160):
        yield {"x": np.full((512, 2048), number % 256, dtype=np.uint8)}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

schema = Schema((Column("x", "uint8", (2048,)),))
with tempfile.TemporaryDirectory() as folder:
    write_dataset(folder + "/small", schema, {"train": [{"x": np.zeros((512, 2048), np.uint8)}]}, memory_mb=16)
    before = peak()
    assert write_dataset(folder + "/large", schema, {"train": rows()}, memory_mb=16).rows("train") == 160 * 512
    print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 80


def test_tensors_are_written_as_arrays_are(tmp_path: Path) -> None:
    rows = rows_of(0, 50)
    tensors = {**rows, "image": torch.from_numpy(rows["image"]), "label": torch.arange(50)}
    tensors["frames"] = [torch.from_numpy(frames) for frames in rows["frames"]]
    digests = {write_dataset(str(tmp_path / str(i)), SCHEMA, {"a": [r]}).digest for i, r in enumerate((rows, tensors))}
    assert len(digests) == 1
