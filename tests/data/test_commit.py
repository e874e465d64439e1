"""Commit: only what is whole is a dataset, and nothing of others is deleted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import tree
from killed_writer import ARGUMENTS, MOMENTS
from numbered_rows import SCHEMA, batches, labels_of, rows_of

from echelon.data.cells import encode
from echelon.data.commit import commit, start
from echelon.data.manifest import MANIFEST, WRITING, DataFile, open_dataset
from echelon.data.part_writer import PartWriter
from echelon.data.storage import open_storage
from echelon.data.write import write_dataset
from echelon.errors import DataError


def test_a_dataset_is_only_overwritten_on_demand(tmp_path: Path) -> None:
    url = str(tmp_path)
    write_dataset(url, SCHEMA, {"train": batches(10), "val": batches(10)}, assets={"mean": np.zeros(1)})
    with pytest.raises(DataError, match="already a dataset"):
        write_dataset(url, SCHEMA, {"train": batches(20)})
    assert open_dataset(url).rows("train") == 10
    write_dataset(url, SCHEMA, {"train": batches(20)}, overwrite=True)
    assert open_dataset(url).rows("train") == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "split=train"]


@pytest.mark.parametrize("name", ["notes.txt", "split=train/part-00000.parquet"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_deleted(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(DataError, match="holds other files"):
        write_dataset(str(tmp_path), SCHEMA, {"train": batches(10)}, overwrite=overwrite)
    assert (tmp_path / name).read_bytes() == b"precious"


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("never killed")
    write_dataset(str(folder), SCHEMA, {split: batches(3000) for split in ("train", "test")}, **ARGUMENTS)
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_writer_leaves_nothing_that_the_next_does_not_clear(
    tmp_path: Path, never_killed: Path, moment: str
) -> None:
    folder, scratch = tmp_path / "d", tmp_path / "scratch"
    scratch.mkdir()
    killed = subprocess.run(
        [sys.executable, "-m", "killed_writer", str(folder), moment],
        cwd=Path(__file__).parent,
        env={**os.environ, "TMPDIR": str(scratch)},
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(scratch.iterdir()) == []
    assert (folder / WRITING).exists()
    if moment == "before the marker goes":
        # The manifest is the commit: this dataset is whole.
        assert sorted(labels_of(open_dataset(str(folder)), "test")) == list(range(3000))
        return
    with pytest.raises(DataError, match=r"half-written.*run it again"):
        open_dataset(str(folder))
    write_dataset(str(folder), SCHEMA, {split: batches(3000) for split in ("train", "test")}, **ARGUMENTS)
    assert tree(folder) == tree(never_killed)


def test_a_manifest_that_was_cut_off_is_half_written_and_cleared(tmp_path: Path) -> None:
    write_dataset(str(tmp_path), SCHEMA, {"train": batches(10)})
    whole = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(whole[: len(whole) // 2])
    (tmp_path / WRITING).write_bytes(b"{}")
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(tmp_path))
    assert write_dataset(str(tmp_path), SCHEMA, {"train": batches(20)}).rows("train") == 20


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_tasks_write_parts_and_the_driver_commits_those_that_count(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path) if place == "disk" else f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    storage = open_storage(url)
    start(storage)

    def task(part: int, attempt: str) -> PartWriter:
        writer = PartWriter(storage, "train", SCHEMA, part, attempt, row_group_mb=0.01)
        for batch in (rows_of(part * 100, part * 100 + 60), rows_of(part * 100 + 60, part * 100 + 100)):
            writer.write(encode(SCHEMA, batch))
        return writer

    killed, first, retried = task(0, "a"), task(1, "b").close(), task(0, "c").close()
    killed.close()
    with pytest.raises(DataError, match="half-written"):
        open_dataset(url)
    commit(storage, SCHEMA, {"train": (retried, first)}, info={"by": "tasks"})
    dataset = open_dataset(url)
    assert labels_of(dataset).tolist() == list(range(200))
    assert [entry.path for entry in storage.list()] == [MANIFEST, retried.path, first.path]


@pytest.mark.parametrize("lost", ["deleted", "cut off"])
def test_files_that_cannot_be_seen_here_are_not_committed(tmp_path: Path, lost: str) -> None:
    """As where each host wrote into a folder of its own."""
    storage = open_storage(tmp_path)
    start(storage)

    def written(part: int) -> DataFile:
        writer = PartWriter(storage, "train", SCHEMA, part)
        writer.write(encode(SCHEMA, rows_of(part * 10, part * 10 + 10)))
        return writer.close()

    seen, unseen = written(0), written(1)
    if lost == "deleted":
        storage.delete(unseen.path)
    else:
        storage.write(unseen.path, storage.read(unseen.path)[:-1])
    with pytest.raises(DataError, match=rf"1 of 2 files of {tmp_path}, such as {unseen.path}, .* all hosts share"):
        commit(storage, SCHEMA, {"train": (seen, unseen)})
    with pytest.raises(DataError, match="half-written"):
        open_dataset(str(tmp_path))
