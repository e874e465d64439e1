"""Files over HTTP, from a server that has every fault that servers have."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web import QUICK, Site, digest_of, served

from echelon.download.fetch import fetch, fetch_all
from echelon.download.file import File
from echelon.download.transfer import Progress
from echelon.errors import DataError, EchelonError, StorageError


def of(site: Site, content: bytes, name: str = "data", **fields) -> File:
    return File(**{"url": f"{site.url}/{name}", "name": "data.bin", "digest": digest_of(content), **fields})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_a_file_is_fetched_once_and_told_piece_by_piece(site, content, tmp_path, algorithm):
    told: list[Progress] = []
    file = of(site, content, digest=digest_of(content, algorithm), size=len(content))
    for _ in range(2):
        path = fetch(file, tmp_path / "new" / "folder", limits=QUICK, on_progress=told.append)
        assert path.read_bytes() == content
    assert site.asked == [None], "a whole file is not asked for again"
    assert names(path.parent) == {"data.bin"}
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert (told[0].done, told[-1]) == (0, Progress("data.bin", len(content), len(content)))


def test_a_connection_that_is_cut_goes_on_where_it_broke(site, content, tmp_path):
    site.cut_after, site.cuts = 1_100_000, 2
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == [None, "bytes=1100000-", "bytes=2200000-"]


def test_pieces_of_more_than_a_megabyte_are_never_too_many(site, content, tmp_path):
    site.files["/data"] = content * 3
    site.cut_after, site.cuts = 1_100_000, 7
    assert len(fetch(of(site, content * 3), tmp_path, limits=QUICK).read_bytes()) == 9_000_000
    assert len(site.asked) == 8 > QUICK.tries


def test_a_server_that_breaks_off_again_and_again_is_given_up_and_what_came_is_kept(site, content, tmp_path):
    site.cut_after, site.cuts = 1_000, 99
    with pytest.raises(StorageError, match=r"after 4 tries in a row: .*4,000.* bytes are kept"):
        fetch(of(site, content), tmp_path, limits=QUICK)
    assert (tmp_path / "data.bin.part").stat().st_size == 4_000
    site.cuts = 0
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked[-1] == "bytes=4000-"
    assert names(tmp_path) == {"data.bin"}


@pytest.mark.parametrize("digest", [True, False])
def test_a_killed_download_goes_on(site, content, tmp_path, digest):
    """Without a published checksum too: the server's own name for the version tells that it is the same."""
    file = of(site, content) if digest else of(site, content, digest=None)
    site.cut_after, site.stalls = 1_500_000, 1
    script = "import sys; from echelon.download.fetch import *; from echelon.download.file import File\n"
    process = subprocess.Popen([sys.executable, "-c", f"{script}fetch({file!r}, {str(tmp_path)!r})"])
    part = tmp_path / "data.bin.part"
    deadline = time.monotonic() + 150
    while not (part.exists() and part.stat().st_size == 1_500_000):
        assert time.monotonic() < deadline, "nothing came"
        assert process.poll() is None
        time.sleep(0.02)
    with pytest.raises(EchelonError, match="another process is downloading"):
        fetch(file, tmp_path, limits=QUICK)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert not (tmp_path / "data.bin").exists()
    assert fetch(file, tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == [None, "bytes=1500000-"]


def test_the_rest_of_another_version_is_never_joined_to_the_beginning_of_this_one(site, content, tmp_path):
    site.cut_after, site.cuts = 200_000, 99
    tired = of(site, content, digest=None)
    with pytest.raises(StorageError):
        fetch(tired, tmp_path, limits=QUICK)
    site.cuts, site.files["/data"] = 0, content[::-1]
    assert fetch(tired, tmp_path, limits=QUICK).read_bytes() == content[::-1]
    assert site.asked[-1].startswith("bytes="), "it was asked for the rest, and gave the whole"


def test_without_checksum_and_version_it_begins_again(site, content, tmp_path):
    site.tagged = False
    site.cut_after, site.cuts = 1_500_000, 1
    assert fetch(of(site, content, digest=None), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == [None, None]


def test_a_server_that_does_not_know_ranges_sends_all_again(site, content, tmp_path):
    site.ranges = False
    site.cut_after, site.cuts = 1_500_000, 1
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == [None, "bytes=1500000-"]


def test_a_server_that_answers_another_range_is_asked_for_all(site, content, tmp_path):
    site.shift = 5
    site.cut_after, site.cuts = 1_500_000, 1
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == [None, "bytes=1500000-", None]


def test_beginning_again_and_again_comes_to_an_end(site, content, tmp_path):
    site.shift = 5
    site.cut_after, site.cuts = 1_500_000, 999
    with pytest.raises(StorageError, match="after 4 tries in a row"):
        fetch(of(site, content), tmp_path, limits=QUICK)
    assert len(site.asked) < 10


def test_what_had_come_whole_before_a_kill_is_only_looked_at(site, content, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(content)
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == ["bytes=3000000-"]


def test_a_beginning_that_is_longer_than_the_file_is_thrown_away(site, content, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(content + b"more")
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content


def test_a_server_that_stalls_is_left_and_asked_again(site, content, tmp_path):
    site.cut_after, site.stalls = 2_000_000, 1
    before = time.monotonic()
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert time.monotonic() - before < 5
    assert site.asked[-1] == "bytes=2000000-"


def test_a_trickle_is_no_download(site, content, tmp_path):
    site.trickle = 0.02
    before = time.monotonic()
    with pytest.raises(StorageError, match=r"after 4 tries in a row: only .* bytes came in"):
        fetch(of(site, content), tmp_path, limits=QUICK)
    assert time.monotonic() - before < 10


def test_chunks_without_a_length_that_break_off_are_not_taken_for_whole(site, content, tmp_path):
    site.chunked = True
    site.cut_after, site.cuts = 1_500_000, 1
    assert fetch(of(site, content, digest=None), tmp_path, limits=QUICK).read_bytes() == content
    assert len(site.asked) == 2


def test_another_content_is_put_aside_and_never_used(site, content, tmp_path):
    file = of(site, b"something else")
    with pytest.raises(DataError, match=r"its sha256 is [0-9a-f]{64} instead of .*data\.bin\.wrong"):
        fetch(file, tmp_path, limits=QUICK)
    assert names(tmp_path) == {"data.bin.wrong"}
    site.files["/data"] = b"something else"
    assert fetch(file, tmp_path, limits=QUICK).read_bytes() == b"something else"


def test_a_file_that_was_changed_on_the_disk_is_put_aside_and_fetched_anew(site, content, tmp_path, caplog):
    (tmp_path / "data.bin").write_bytes(content[:-1] + b"?")
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert names(tmp_path) == {"data.bin", "data.bin.wrong"}
    assert "data.bin is not the published file" in caplog.text


def test_what_was_put_aside_before_is_kept(site, content, tmp_path):
    (tmp_path / "data.bin.wrong").write_bytes(b"somebody's")
    (tmp_path / "data.bin").write_bytes(b"another")
    fetch(of(site, content), tmp_path, limits=QUICK)
    assert (tmp_path / "data.bin.wrong").read_bytes() == b"somebody's"
    assert (tmp_path / "data.bin.wrong-2").read_bytes() == b"another"


def test_a_file_of_another_size_is_refused_before_it_is_fetched(site, content, tmp_path):
    with pytest.raises(DataError, match="has 3,000,000 bytes instead of 17"):
        fetch(of(site, content, size=17), tmp_path, limits=QUICK)
    assert not (tmp_path / "data.bin").exists()


def test_a_missing_file_is_not_asked_for_twice(site, content, tmp_path):
    with pytest.raises(EchelonError, match="answers 404 Not Found"):
        fetch(of(site, content, name="gone"), tmp_path, limits=QUICK)
    assert len(site.asked) == 1


def test_a_busy_server_is_asked_again_but_not_for_ever_nor_when_it_likes(site, content, tmp_path, caplog):
    site.statuses, site.headers = [503, 429], {"Retry-After": "86400"}
    before = time.monotonic()
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert time.monotonic() - before < 5, "a day was asked for"
    assert "503 Service Unavailable; trying again" in caplog.text
    site.statuses = [503] * 9
    with pytest.raises(StorageError, match="after 4 tries in a row: the server answers 503"):
        fetch(of(site, content), tmp_path / "other", limits=QUICK)
    assert len(site.asked) == 3 + QUICK.tries


def test_redirects_are_followed_but_not_in_a_circle(site, content, tmp_path):
    site.statuses, site.headers = [302], {"Location": "/data"}
    assert fetch(of(site, content, name="moved"), tmp_path, limits=QUICK).read_bytes() == content
    site.statuses = [302] * 99
    with pytest.raises(EchelonError, match="from one address to the next"):
        fetch(of(site, content, name="moved"), tmp_path / "other", limits=QUICK)


def test_a_server_that_is_not_there_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(StorageError, match=r"after 4 tries in a row: 127\.0\.0\.1 cannot be reached: .*refused"):
        fetch(File(f"http://127.0.0.1:{port}/x", "x"), tmp_path, limits=QUICK)


def test_a_full_disk_is_told_and_the_rest_is_kept(site, content, tmp_path):
    """A limit on the size of files is what a disk without room looks like to a process."""
    script = (
        "import resource, signal, sys; from echelon.download.fetch import *; from echelon.download.file import File\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
    )
    file = of(site, content)
    done = subprocess.run(
        [sys.executable, "-c", f"{script}fetch({file!r}, {str(tmp_path)!r})"],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert "StorageError" in done.stderr
    assert "data.bin.part cannot be written" in done.stderr
    assert (tmp_path / "data.bin.part").stat().st_size == 10**6
    assert fetch(file, tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked[-1] == "bytes=1000000-"


def test_a_disk_without_room_is_told_before_anything_comes(site, content, tmp_path, monkeypatch):
    usage = os.statvfs(tmp_path)
    assert usage.f_bavail, "this disk is full"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000})())
    with pytest.raises(StorageError, match=r"needs 3\.0 MB more, but .* has room for 0\.0 MB"):
        fetch(of(site, content), tmp_path, limits=QUICK)


@pytest.mark.parametrize("folder", ["taken", "taken/below", "."])
def test_a_folder_that_cannot_be_written_is_told(site, content, tmp_path, folder):
    (tmp_path / "taken").write_bytes(b"a file")
    (tmp_path / "data.bin.part").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        fetch(of(site, content), tmp_path / folder, limits=QUICK)


def test_a_list_goes_on_where_it_stopped(site, content, tmp_path):
    files = [File(f"{site.url}/data", f"{n}.bin") for n in "ab"]
    files.append(File(f"{site.url}/late", "c.bin", digest=digest_of(b"late")))
    with pytest.raises(EchelonError, match="404"):
        fetch_all(files, tmp_path, limits=QUICK)
    site.files["/late"] = b"late"
    assert [path.name for path in fetch_all(files, tmp_path, limits=QUICK)] == ["a.bin", "b.bin", "c.bin"]
    assert len(site.asked) == 4
    with pytest.raises(EchelonError, match=r"overwrite each other: a\.bin"):
        fetch_all([files[0], files[0]], tmp_path)


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "a\\b", "..", ".", "", ".hidden", "C:x", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    with pytest.raises(EchelonError, match="plain name"):
        File("https://example.org/x", name)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": "ftp://example.org/x"}, "http:// or https://"),
        ({"url": "file:///etc/passwd"}, "http:// or https://"),
        ({"url": "https:///x"}, "http:// or https://"),
        ({"digest": "md5:abc"}, "no checksum"),
        ({"digest": "crc:" + "0" * 32}, "no checksum"),
        ({"digest": "0" * 32}, "no checksum"),
        ({"size": -1}, "negative"),
    ],
)
def test_what_is_no_address_checksum_or_size_is_refused(fields, told):
    with pytest.raises(EchelonError, match=told):
        File(**{"url": "https://example.org/x", "name": "x", **fields})


def test_passwords_and_signatures_are_not_told():
    file = File("https://me:secret@example.org/x?signature=secret", "x")
    assert file.shown_url == "https://example.org/x"


def test_a_file_that_another_process_finishes_meanwhile_is_left_alone(site, content, tmp_path, monkeypatch):
    """It gets its name between our opening the part and our locking it, when we would lock the finished file."""
    part, target = tmp_path / "data.bin.part", tmp_path / "data.bin"
    part.write_bytes(content)
    lock = fcntl.flock

    def finished_first(*arguments):
        if not target.exists():
            os.replace(part, target)
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", finished_first)
    assert fetch(of(site, content), tmp_path, limits=QUICK).read_bytes() == content
    assert site.asked == []
    assert names(tmp_path) == {"data.bin"}


@pytest.fixture
def encrypted(tmp_path, monkeypatch) -> Iterator[Site]:
    """A site with https, whose certificate this process trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(context) as site:
        yield site


def test_what_nothing_vouches_for_is_not_taken_from_an_open_address(site, content, encrypted, tmp_path):
    encrypted.headers = {"Location": f"{site.url}/data?secret=1"}
    encrypted.statuses, site.files["/data?secret=1"] = [302, 302], content
    with pytest.raises(EchelonError, match=r"leads on to http://127.0.0.1:\d+/data, which is not encrypted"):
        fetch(of(encrypted, content, digest=None), tmp_path / "to", limits=QUICK)
    assert site.asked == []
    assert fetch(of(encrypted, content), tmp_path / "to", limits=QUICK).read_bytes() == content
    encrypted.files["/data"] = content
    encrypted.headers, encrypted.statuses = {"Location": f"{encrypted.url}/data"}, [302]
    assert fetch(of(encrypted, content, digest=None), tmp_path / "on", limits=QUICK).read_bytes() == content
