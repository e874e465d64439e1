"""Zip archives from strangers."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from echelon.download.unzip import Zip
from echelon.errors import DataError, StorageError

CONTENT = bytes(range(256)) * 400


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_single_files_are_unpacked_under_the_names_that_the_caller_gives(tmp_path, method):
    packed = archive(tmp_path / "x.zip", {"a/b.mp3": CONTENT, "a/c.mp3": b"2", "a/": b""}, method)
    with Zip.of(packed) as files:
        assert files.names == {"a/b.mp3", "a/c.mp3"}
        assert files.size("a/b.mp3") == len(CONTENT)
        files.bring("a/b.mp3", tmp_path / "mine.mp3")
    assert (tmp_path / "mine.mp3").read_bytes() == CONTENT
    assert names(tmp_path) == {"x.zip", "mine.mp3"}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_no_name_in_an_archive_leads_anywhere(tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    with Zip.of(archive(tmp_path / "x.zip", {name: CONTENT})) as files:
        (known,) = files.names
        files.bring(known, home / "mine")
    assert names(home) == {"mine"}
    assert names(tmp_path) == {"x.zip", "home"}


def test_links_are_no_files(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with Zip.of(tmp_path / "x.zip") as files:
        assert files.names == frozenset()
        with pytest.raises(DataError, match=r"x\.zip has no file link"):
            files.bring("link", tmp_path / "mine")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_changed_file_leaves_nothing_behind(tmp_path, method):
    noise = io.BytesIO(CONTENT).getvalue()
    packed = archive(tmp_path / "x.zip", {"a": noise}, method)
    data = bytearray(packed.read_bytes())
    data[60:64] = bytes(255 - byte for byte in data[60:64])
    packed.write_bytes(data)
    with Zip.of(packed) as files, pytest.raises(DataError, match=r"a in x\.zip is damaged"):
        files.bring("a", tmp_path / "mine")
    assert names(tmp_path) == {"x.zip"}


@pytest.mark.parametrize("content", [b"", b"<html>", CONTENT])
def test_what_is_no_archive_is_told(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="is no whole zip archive"), Zip.of(tmp_path / "x.zip"):
        pass


def test_an_archive_that_was_cut_off_is_told(tmp_path):
    packed = archive(tmp_path / "x.zip", {"a": CONTENT, "b": CONTENT[::-1]})
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(DataError, match="is no whole zip archive"), Zip.of(packed):
        pass


def test_an_encrypted_file_is_told(tmp_path):
    packed = archive(tmp_path / "x.zip", {"a": CONTENT})
    data = bytearray(packed.read_bytes())
    data[6] |= 1  # the flag of encryption, in the local and in the central header
    data[data.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(data)
    with Zip.of(packed) as files, pytest.raises(DataError, match="or packed in a way that is not known"):
        files.bring("a", tmp_path / "mine")


def test_a_bomb_gives_no_more_than_it_says(tmp_path):
    """The size in the directory is what was checked; a stream that goes on is cut there, and its checksum is wrong."""
    packed = archive(tmp_path / "x.zip", {"a": bytes(5_000_000)})
    data = bytearray(packed.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (1000).to_bytes(4, "little")
    packed.write_bytes(data)
    with Zip.of(packed) as files:
        assert files.size("a") == 1000
        with pytest.raises(DataError, match="is damaged"):
            files.bring("a", tmp_path / "mine")
    assert names(tmp_path) == {"x.zip"}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with (
        Zip.of(archive(tmp_path / "x.zip", {"a": b"1"})) as files,
        pytest.raises(StorageError, match="cannot be written"),
    ):
        files.bring("a", tmp_path / "none" / "mine")
