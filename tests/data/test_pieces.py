"""Large row groups are decoded bit by bit: the same values, in little memory, and damage is told as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echelon.data.groups import RowGroups
from echelon.data.manifest import Dataset
from echelon.data.parts import Part
from echelon.data.read import RowReader
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.errors import DataError
from echelon.sources import dataset_of

ROWS, NUMBERS = 4000, 1000

READ = """
import sys
from pathlib import Path

import numpy as np

from echelon.data.groups import RowGroups
from echelon.data.read import RowReader
from echelon.sources import dataset_of


def resident(field):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if field in line)


def read(source, home):
    reader = RowReader(RowGroups(dataset_of(source, home, reuse=False), "train"), 1)
    return float(reader.take(np.arange(1)).fixed["x"][0, 0]), reader


read(sys.argv[1], sys.argv[3] + "-small")  # what the libraries take when they are used for the first time
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
first, kept = read(sys.argv[2], sys.argv[3] + "-large")
print(first, (resident("VmHWM") - before) / 1024)
"""


def written(folder: Path, rows: int, *, null: int | None = None) -> str:
    """A foreign Parquet file of one row group, with lists of numbers. null: a row without any."""
    folder.mkdir()
    numbers = np.random.default_rng(0).standard_normal((rows, NUMBERS), dtype=np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), NUMBERS).cast(pa.list_(pa.float32()))
    if null is not None:
        lists = pa.concat_arrays([lists[:null], pa.nulls(1, lists.type), lists[null + 1 :]])
    table = pa.table({"x": lists, "label": np.arange(rows)})
    pq.write_table(table, folder / "rows.parquet", row_group_size=rows)
    return str(folder)


def opened(folder: Path, **how: int) -> Dataset:
    return dataset_of(written(folder / "rows", ROWS, **how), str(folder / "dataset"), reuse=False)


def test_pieces_are_the_row_group(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    groups = RowGroups(dataset, "train")
    assert len(groups) == 1
    pieces = list(groups.pieces(0))
    lengths = [len(values["label"]) for _, values in pieces]
    assert len(pieces) > 2, "16 MB are no single piece"
    assert [start for start, _ in pieces] == [0, *np.cumsum(lengths)[:-1].tolist()]
    whole = RowGroups(dataset, "train").decode(0)
    for name in ("x", "label"):
        np.testing.assert_array_equal(np.concatenate([values[name] for _, values in pieces]), whole[name])
    rows = np.random.default_rng(1).integers(0, ROWS, 500)
    np.testing.assert_array_equal(RowReader(groups, 1).take(rows).fixed["x"].numpy(), whole["x"][rows])


def test_damage_is_told(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal((ROWS, NUMBERS), dtype=np.float32)
    schema = Schema((Column("x", "float32", (NUMBERS,)),))
    dataset = write_dataset(str(tmp_path / "own"), schema, {"train": [{"x": numbers}]}, row_group_mb=64)
    groups = RowGroups(dataset, "train")
    assert len(list(RowGroups(dataset, "train").pieces(0))) > 2
    [file] = (tmp_path / "own").rglob("*.parquet")
    data = bytearray(file.read_bytes())
    place = int(len(data) * 0.9)
    data[place : place + 100] = bytes(100)
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"is damaged in row groups \[0\]"):
        list(groups.pieces(0))
    with pytest.raises(DataError, match=r"is damaged in row groups \[0\]"):
        RowReader(groups, 1).take(np.arange(3))


def test_a_row_group_that_comes_short_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the header of a page is damaged in a file without checksums: Arrow gives fewer rows, and no error."""
    pieces, read = Part.pieces, Part.read
    monkeypatch.setattr(Part, "pieces", lambda *order: list(pieces(*order))[:-1])
    monkeypatch.setattr(Part, "read", lambda *order: read(*order)[:-3])
    with pytest.raises(
        DataError, match=r"rows.parquet is damaged in row groups \[0\]: 3,997 rows can be read of 4,000"
    ):
        RowReader(RowGroups(opened(tmp_path), "train"), 1).take(np.arange(3))


def test_a_null_in_a_later_piece_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'x' has 1 nulls in 4000 rows"):
        RowReader(RowGroups(opened(tmp_path, null=ROWS - 10), "train"), 1).take(np.arange(3))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
def test_a_large_row_group_takes_little_memory_more(tmp_path: Path) -> None:
    """As a whole it would take a list's levels as well, and buffers that grow by doubling."""
    small, large = written(tmp_path / "small", 100), written(tmp_path / "large", 16_000)
    command = [sys.executable, "-c", READ, small, large, str(tmp_path / "dataset")]
    first, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    values = 16_000 * NUMBERS * 4 / 2**20
    assert float(first) == float(np.random.default_rng(0).standard_normal(1, dtype=np.float32)[0])
    assert float(grown) < 2 * values
