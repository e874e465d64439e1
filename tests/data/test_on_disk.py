"""Files for libraries that want a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echelon.data.on_disk import on_disk
from echelon.data.storage import open_storage


def test_a_file_on_a_disk_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a file.wav").write_bytes(b"sound")
    for url in (str(tmp_path), tmp_path.as_uri()):
        with on_disk(open_storage(url), "a file.wav") as path:
            assert os.path.samefile(path, tmp_path / "a file.wav")
    assert (tmp_path / "a file.wav").exists()


def test_a_file_far_away_is_copied_for_a_while(s3: str) -> None:
    storage = open_storage(f"{s3}/on-disk")
    content = os.urandom(9 << 20)
    storage.write("songs/one.mp3", content)
    with on_disk(storage, "songs/one.mp3") as path:
        assert path.endswith(".mp3"), "libraries go by endings"
        assert Path(path).read_bytes() == content
    assert not os.path.exists(path)
    with pytest.raises(ValueError, match="not on a disk"):
        storage.local_path("songs/one.mp3")


def test_a_missing_file_is_named(tmp_path: Path, s3: str) -> None:
    for url in (str(tmp_path), f"{s3}/on-disk"):
        with pytest.raises(FileNotFoundError, match=r"nothing\.mp3"), on_disk(open_storage(url), "nothing.mp3"):
            pass
