"""Cells of tensors are compressed where that makes them smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from echelon.data.cells import encode
from echelon.data.manifest import open_dataset
from echelon.data.part_writer import PartWriter
from echelon.data.schema import Column, Schema
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset

SCHEMA = Schema(
    (Column("noise", "uint8", (3, 8, 8)), Column("flat", "uint8", (3, 8, 8)), Column("song", "uint8", (None,)),
     Column("label", "int64"), Column("key", "string"))
)  # fmt: skip
ROWS = 200


def rows() -> dict[str, object]:
    random = np.random.default_rng(0)
    return {
        "noise": random.integers(0, 256, (ROWS, 3, 8, 8), dtype=np.uint8),
        "flat": np.full((ROWS, 3, 8, 8), 7, np.uint8),
        "song": [random.integers(0, 256, 50 + row, dtype=np.uint8) for row in range(ROWS)],
        "label": np.arange(ROWS) % 3,
        "key": [f"row {row}" for row in range(ROWS)],
    }


@pytest.mark.parametrize("name", ["zstd", "lz4", "none"])
def test_what_hardly_shrinks_is_stored_plain_and_everything_is_read_back(tmp_path: Path, name: str) -> None:
    written = rows()
    dataset = write_dataset(str(tmp_path / "d"), SCHEMA, {"train": [written]}, shuffle_seed=None, compression=name)
    (file,) = (tmp_path / "d").rglob("*.parquet")
    metadata = pq.ParquetFile(file).metadata.row_group(0)
    used = {metadata.column(i).path_in_schema: metadata.column(i).compression for i in range(metadata.num_columns)}
    codec = "UNCOMPRESSED" if name == "none" else name.upper()
    plain = "UNCOMPRESSED"
    assert used == {"noise": plain, "flat": codec, "song": plain, "label": codec, "key": codec}
    batch = next(span_batches(open_dataset(dataset.url), "train", None, 0, ROWS, ROWS))
    assert np.array_equal(batch["noise"].numpy(), written["noise"])
    assert np.array_equal(batch["flat"].numpy(), written["flat"])
    assert [song[:length].tolist() for song, length in zip(batch["song"], batch.lengths["song"], strict=True)] == [
        song.tolist() for song in written["song"]
    ]


def test_a_split_without_rows_is_a_file_too(tmp_path: Path) -> None:
    empty = {name: value[:0] for name, value in rows().items()}
    dataset = write_dataset(str(tmp_path / "d"), SCHEMA, {"train": [rows()], "test": [empty]})
    assert dataset.rows("train") == ROWS
    assert "test" not in dataset.splits or dataset.rows("test") == 0


def test_the_codecs_depend_on_the_rows_and_not_on_how_they_came(tmp_path: Path) -> None:
    """Rows of other parts lie in the same memory, when Spark hands a task many at once."""
    schema = Schema((Column("x", "uint8", (64,)), Column("song", "uint8", (None,))))
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, 64), dtype=np.uint8)
    flat = np.zeros((40 * ROWS, 64), np.uint8)
    values = np.concatenate([flat, noise, flat])
    many = encode(schema, {"x": values, "song": list(values)})
    alone = encode(schema, {"x": noise, "song": list(noise)})
    files = []
    for part, batch in enumerate((alone, many.slice(len(flat), ROWS))):
        writer = PartWriter(open_storage(str(tmp_path)), "train", schema, part)
        writer.write(batch)
        files.append((tmp_path / writer.close().path).read_bytes())
    assert files[0] == files[1]
