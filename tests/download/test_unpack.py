"""Tar archives from strangers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from echelon.download.locked import locked
from echelon.download.unpack import unpack
from echelon.errors import DataError, EchelonError, StorageError


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def file(name: str, content: bytes = b"content") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_what_is_in_it_is_put_into_the_folder_once(tmp_path, mode):
    packed = archive(tmp_path / "x.tar", file("a/b", b"1"), file("a/c/d", b"22"), file("e", b"333"), mode=mode)
    home = tmp_path / "home"
    home.mkdir()
    assert unpack(packed, home) == [home / "a", home / "e"]
    assert {p: (home / p).read_bytes() for p in ("a/b", "a/c/d", "e")} == {"a/b": b"1", "a/c/d": b"22", "e": b"333"}
    changed = (home / "a/b").stat().st_mtime_ns
    assert unpack(packed, home) == [home / "a", home / "e"]
    assert (home / "a/b").stat().st_mtime_ns == changed
    assert names(home) == {"a", "a/b", "a/c", "a/c/d", "e"}


@pytest.mark.parametrize(
    "member",
    [file("../evil"), file("a/../../evil"), link("a/evil", "/etc/passwd"), link("a/evil", "../../evil"),
     link("evil", "/etc/passwd", tarfile.LNKTYPE), link("evil", "", tarfile.CHRTYPE),
     link("evil", "", tarfile.FIFOTYPE)],
    ids=["above", "above from within", "absolute link", "link out", "hard link out", "device", "pipe"],
)  # fmt: skip
def test_what_leads_out_of_the_folder_is_refused_with_all_the_rest(tmp_path, member):
    packed = archive(tmp_path / "x.tar.gz", file("a/good"), member)
    home = tmp_path / "home" / "inner"
    home.mkdir(parents=True)
    with pytest.raises(DataError, match="wants to write where it must not"):
        unpack(packed, home)
    assert names(tmp_path / "home") == {"inner"}


def test_an_absolute_name_stays_within(tmp_path):
    packed = archive(tmp_path / "x.tar.gz", file("/echelon-test/evil"))
    home = tmp_path / "home"
    home.mkdir()
    assert unpack(packed, home) == [home / "echelon-test"]
    assert not Path("/echelon-test").exists()


@pytest.mark.parametrize("damage", ["cut off", "changed", "no archive"])
def test_a_damaged_archive_leaves_nothing_behind(tmp_path, damage):
    packed = archive(tmp_path / "x.tar.gz", file("a/b", bytes(range(256)) * 200), file("a/c", bytes(50_000)))
    data = packed.read_bytes()
    half = len(data) // 2
    changed = data[:half] + b"?" * 20 + data[half + 20 :]
    packed.write_bytes({"cut off": data[:half], "changed": changed, "no archive": b"<html>"}[damage])
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(DataError, match="is damaged"):
        unpack(packed, home)
    assert names(home) == set()


def test_what_a_killed_unpacking_left_is_no_obstacle(tmp_path):
    packed = archive(tmp_path / "x.tar.gz", file("a/b"))
    home = tmp_path / "home"
    (home / ".x.tar.gz.unpacking" / "a").mkdir(parents=True)
    (home / ".x.tar.gz.unpacking" / "a" / "half").write_bytes(b"?")
    unpack(packed, home)
    assert names(home) == {"a", "a/b"}


def test_something_else_of_that_name_is_never_overwritten(tmp_path):
    packed = archive(tmp_path / "x.tar.gz", file("a/b"))
    home = tmp_path / "home"
    (home / "a").mkdir(parents=True)
    (home / "a" / "b").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there already"):
        unpack(packed, home)
    assert (home / "a" / "b").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    packed = archive(tmp_path / "x.tar.gz", file("a/b"))
    (tmp_path / "home").write_bytes(b"a file")
    with pytest.raises(StorageError, match="home"):
        unpack(packed, tmp_path / "home")


def test_the_same_size_is_not_the_same_file(tmp_path):
    packed = archive(tmp_path / "x.tar.gz", file("a/b", b"good"), file("a/c", b"22"))
    home = tmp_path / "home"
    unpack(packed, home)
    (home / "a" / "b").write_bytes(b"XXXX")
    with pytest.raises(DataError, match=r"is there already.*a/b"):
        unpack(packed, home)
    assert (home / "a" / "b").read_bytes() == b"XXXX"


def test_two_processes_do_not_unpack_one_archive_at_once(tmp_path):
    """One has it half unpacked; the other leaves that alone and says so."""
    packed = archive(tmp_path / "x.tar.gz", file("a/b"))
    home = tmp_path / "home"
    half = home / ".x.tar.gz.unpacking" / "a"
    with locked(home / ".x.tar.gz.lock", "unpacking"):
        half.mkdir(parents=True)
        with pytest.raises(EchelonError, match=r"another process is unpacking x.tar.gz"):
            unpack(packed, home)
        assert half.exists()
    unpack(packed, home)
    assert names(home) == {"a", "a/b"}
