"""Storage: the same behaviour on a disk and on a real S3 server."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from echelon.data.objects import ObjectServer
from echelon.data.storage import Storage, open_storage
from echelon.errors import DataError, StorageError


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "disk":
        return open_storage(str(tmp_path / "not there yet"))
    return open_storage(f"{request.getfixturevalue('s3')}/{tmp_path.name}")


def test_a_file_comes_back_as_it_was_written(storage: Storage) -> None:
    content = bytes(range(256)) * 40_000
    storage.write("a/b=c/file.bin", content)
    assert storage.read("a/b=c/file.bin") == content
    assert storage.size("a/b=c/file.bin") == len(content)
    with storage.open_input("a/b=c/file.bin") as file:
        assert file.read_at(3, 1_000_000) == content[1_000_000:1_000_003]
    mapped = storage.mapped("a/b=c/file.bin")
    storage.write("a/b=c/file.bin", b"new")
    assert mapped.to_pybytes() == content, "what was mapped is the file that was there"
    assert storage.read("a/b=c/file.bin") == b"new"
    assert pickle.loads(pickle.dumps(storage)).read("a/b=c/file.bin") == b"new"


SMALL_FILES_ONLY = """
import resource, signal, sys
from echelon.data.storage import open_storage
from echelon.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    open_storage(sys.argv[1]).write("config.json", b"n" * 5000)
except StorageError as error:
    print(error)
"""

KILLED_BEFORE_ITS_PLACE = """
import os, signal, sys
import pyarrow.fs
from echelon.data import storage
class Disk(pyarrow.fs.LocalFileSystem):
    def move(self, source, target):
        os.kill(os.getpid(), signal.SIGKILL)
storage.pafs.LocalFileSystem = Disk
storage.open_storage(sys.argv[1]).write("folder/config.json", b"new")
"""


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    storage.write("config.json", b"old")
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES_ONLY, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert f"cannot write {tmp_path}/config.json: " in done.stdout
    assert storage.read("config.json") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_what_a_killed_writer_left_beside_a_file_is_no_file(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_ITS_PLACE, str(tmp_path)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "folder").iterdir())) == 1, "it was killed between writing and putting into place"
    storage = open_storage(tmp_path)
    assert storage.list() == storage.child("folder").list() == []
    storage.write("folder/config.json", b"new")
    storage.write("folder/.hidden", b"")
    assert [entry.path for entry in storage.list()] == ["folder/.hidden", "folder/config.json"]


def test_which_folders_lie_within_others(storage: Storage, tmp_path: Path) -> None:
    storage.write("a/b", b"")
    same = open_storage(f"{storage.url}/")
    assert storage.within(same)
    assert same.within(storage)
    assert storage.child("").within(storage)
    assert storage.child("a").within(storage)
    assert not storage.within(storage.child("a"))
    assert not storage.child("ab").within(storage.child("a"))
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert open_storage(tmp_path / "link" / "x").within(open_storage((tmp_path / "disk").as_uri()))
    assert not storage.within(open_storage(tmp_path / "disk"))


def test_json_comes_back(storage: Storage) -> None:
    storage.write_json("x.json", {"ü": [1, 2.5, None]})
    assert storage.read_json("x.json") == {"ü": [1, 2.5, None]}
    storage.write("half.json", b'{"a": ')
    with pytest.raises(DataError, match=r"half\.json is not JSON"):
        storage.read_json("half.json")


def test_listing_gives_files_below_a_folder_sorted_by_path(storage: Storage) -> None:
    assert storage.list() == []
    for path in ("b", "a/2", "a/1/x", "ab/3"):
        storage.write(path, b"12")
    assert [entry.path for entry in storage.list()] == ["a/1/x", "a/2", "ab/3", "b"]
    assert [entry.path for entry in storage.list("a")] == ["a/1/x", "a/2"]
    assert [entry.path for entry in storage.list("a", recursive=False)] == ["a/2"]
    assert {entry.size for entry in storage.list()} == {2}
    assert storage.child("a").list() == [*map(type(storage.list()[0]), ["1/x", "2"], [2, 2])]


def test_a_name_in_another_encoding_than_utf_8_is_told(tmp_path: Path) -> None:
    """Names are passed on as texts, to Spark and to hosts. Old collections have some in Latin-1."""
    try:
        (tmp_path / os.fsdecode(b"M\xfcller.mp3")).write_bytes(b"1")
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(StorageError, match=r"cannot list .*M\\xfcller\.mp3' is not written in UTF-8"):
        open_storage(str(tmp_path)).list()


def test_deleting(storage: Storage) -> None:
    for path in ("a/1", "a/b/2", "a/split=x/ü (1)+~.bin", "ab"):
        storage.write(path, b"")
    storage.delete("a/split=x/ü (1)+~.bin")
    storage.delete("a/1")
    assert [entry.path for entry in storage.list()] == ["a/b/2", "ab"]
    storage.delete_tree("a")
    storage.delete_tree("a")
    assert [entry.path for entry in storage.list()] == ["ab"]
    # What was deleted must not stand in the way of what comes in its place.
    storage.write("a/b/2", b"again")
    assert storage.read("a/b/2") == b"again"
    with pytest.raises(ValueError, match="never emptied"):
        storage.delete_tree("")


def test_deleting_leaves_no_objects_behind_on_s3(s3: str, tmp_path: Path) -> None:
    storage = open_storage(f"{s3}/{tmp_path.name}")
    for path in ("x/y/1", "x/y/2", "z/1"):
        storage.write(path, b"1")
    storage.delete("z/1")
    storage.delete_tree("x")
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="tests", Prefix=tmp_path.name)


def test_a_missing_file_is_named_by_its_whole_url(storage: Storage) -> None:
    for operation in (storage.read, storage.open_input, storage.size, storage.delete):
        with pytest.raises(FileNotFoundError) as caught:
            operation("no/such file")
        assert storage.url_of("no/such file") in str(caught.value)
    assert not storage.exists("no/such file")


def test_a_folder_is_no_file(storage: Storage) -> None:
    storage.write("a/b", b"")
    assert not storage.exists("a")
    with pytest.raises((FileNotFoundError, StorageError)):
        storage.read("a")


def test_paths_stay_inside(storage: Storage) -> None:
    for path in ("/etc/passwd", "../x", "a/../../x"):
        with pytest.raises(ValueError, match="stay inside"):
            storage.read(path)


def test_s3_objects_have_the_names_that_other_tools_see(s3: str, tmp_path: Path) -> None:
    open_storage(f"{s3}/{tmp_path.name}").write("split=train/a b.bin", b"content")
    client = boto3.client("s3")
    assert client.get_object(Bucket="tests", Key=f"{tmp_path.name}/split=train/a b.bin")["Body"].read() == b"content"
    client.put_object(Bucket="tests", Key=f"{tmp_path.name}/deep/er/x", Body=b"12345")
    assert open_storage(f"{s3}/{tmp_path.name}/deep").size("er/x") == 5


def test_wrong_keys_are_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match=r"cannot write s3://tests/wrong-keys/x"):
        open_storage(f"{s3}/wrong-keys").write("x", b"1")


def test_a_delete_that_is_refused_is_an_error(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(f"{s3}/{tmp_path.name}")
    storage.write("x", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    server = ObjectServer("http", os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), "us-east-1")
    with pytest.raises(OSError, match="answered 403"):
        server.delete(f"tests/{tmp_path.name}/x")
    monkeypatch.undo()
    assert storage.exists("x")
    server.delete(f"tests/{tmp_path.name}/x")
    assert not storage.exists("x")


def test_a_full_or_forbidden_disk_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        open_storage(str(tmp_path / "file")).write("x", b"1")


def test_a_folder_or_bucket_that_cannot_be_made_is_a_storage_error(s3: str) -> None:
    for url in ("/proc/songs", f"{s3}-that-nobody-made/songs"):
        with pytest.raises(StorageError, match=f"cannot write {url}/a"):
            open_storage(url).write("a", b"b")


def test_urls_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(DataError, match="unknown scheme 'ftp'"):
        open_storage("ftp://host/x")
    with pytest.raises(DataError, match="password") as caught:
        open_storage("s3://key:geheim@bucket/x")
    assert "geheim" not in str(caught.value)


def test_a_file_url_is_the_same_folder_as_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    open_storage(str(folder)).write("x", b"1")
    assert open_storage(folder.as_uri()).read("x") == b"1"
    assert open_storage(f"file://{folder}").read("x") == b"1"
