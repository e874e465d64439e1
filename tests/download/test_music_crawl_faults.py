"""`echelon music crawl` where songs cannot be had, servers break down, and the crawl itself is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crawled import check_whole, crawl, manifest, skipped, titles
from song_site import CC, Offer, publish, songs, wav
from web import CALM, Site

from echelon.errors import EchelonError
from echelon.recipes.music.crawl import command


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLITE", CALM)


FAULTS = {
    "gone": ("/files/gone.mp3", "the server answers 404"),
    "page": ("/files/page.mp3", "what comes is no mp3, ogg, flac or wav"),
    "large": ("/files/large.mp3", "it is larger than is allowed"),
    "cut": ("/files/cut.mp3", "it cannot be reached, or breaks off again and again"),
    "out": ("/files/out.mp3", "it leads to localhost, out of 127.0.0.1"),
    "elsewhere": ("http://localhost:1/x.mp3", "it leads to localhost, out of 127.0.0.1"),
    "secret": ("/secret/x.mp3", "robots.txt forbids it"),
    "same": ("/files/same.mp3", "it is the same to the byte as another song"),
    "circle": ("/files/circle.mp3", "it cannot be downloaded"),
    "broken": ("http://[/x.mp3", "it cannot be downloaded"),
    "script": ("javascript://x/y", "it cannot be downloaded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_song_that_cannot_be_had_is_left_out_and_told_and_the_others_come(site, tmp_path, fault):
    sound, reason = FAULTS[fault]
    good = songs(2)
    publish(site, [good[0], Offer(fault, sound), good[1]])
    site.files |= {
        "/robots.txt": b"User-agent: *\nDisallow: /secret/",
        "/files/page.mp3": b"<!DOCTYPE html><html>please log in</html>",
        "/files/large.mp3": bytes(300_000),
        "/files/same.mp3": site.files["/files/Jazz/0.mp3"],
    }
    site.files.pop("/files/gone.mp3", None)
    site.answers["/files/cut.mp3"] = [(503, {})] * 99
    site.leads = {
        "/files/out.mp3": f"{site.url.replace('127.0.0.1', 'localhost')}/files/Jazz/0.mp3",
        "/files/circle.mp3": "/files/circle.mp3",
    }
    said = crawl(site, tmp_path, most_mb=0.2)
    assert titles(tmp_path) == ["Jazz 0", "Jazz 1"]
    assert list(skipped(tmp_path).values()) == [reason]
    assert f"1  {reason}" in said
    check_whole(tmp_path) if fault != "cut" else None


def test_a_truncated_answer_is_gone_on_with(site, tmp_path):
    publish(site, [Offer("Long", "/files/long.mp3")])
    site.files["/files/long.mp3"] = wav(1, seconds=5)
    site.files["/robots.txt"] = b""
    site.answers["/genre/Jazz/"] = []
    crawl_page(site, tmp_path, cut_after=20_000, cuts=2)
    assert (tmp_path / next(iter(manifest(tmp_path)))).read_bytes() == wav(1, seconds=5)
    assert [asked for asked in site.asked if asked] == ["bytes=20000-", "bytes=40000-"]
    check_whole(tmp_path)


def crawl_page(site: Site, folder: Path, **faults) -> None:
    """Crawls a site whose faults begin with the first sound."""
    text = folder.parent / f"{folder.name}.jsonl"
    offers = [{"url": f"{site.url}/files/long.mp3", "title": "Long"}]
    text.write_text("".join(json.dumps(offer) + "\n" for offer in offers))
    site.answers["/robots.txt"] = [(404, {})]
    for name, value in faults.items():
        setattr(site, name, value)
    # A refusal of robots.txt has a body too, but it is empty.
    crawl(site, folder, str(text))


@pytest.mark.parametrize("name", ["../../evil.mp3", "/etc/evil.mp3", "a/../../evil.mp3", "..\\evil.mp3", "C:\\evil.mp3",
                                  "..", ".hidden.mp3"])  # fmt: skip
def test_a_name_that_would_leave_the_folder_is_refused(site, tmp_path, name):
    publish(site, [Offer("Bad", "/files/bad.mp3", name=name), *songs(1)])
    home = tmp_path / "a" / "b"
    crawl(site, home)
    assert titles(home) == ["Jazz 0"]
    assert skipped(home) == {"bad.mp3": "its name would lead out of the folder, or hide the file"}
    assert "/files/bad.mp3" not in site.paths
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "manifest.jsonl", "skipped.jsonl", *manifest(home)
    }  # fmt: skip


def test_an_address_that_would_leave_the_folder_is_refused(site, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{site.url}/files/..%2F..%2Fevil.mp3\n{site.url}/files/good.mp3\n")
    site.files |= {"/files/..%2F..%2Fevil.mp3": wav(1), "/files/good.mp3": wav(2)}
    crawl(site, tmp_path / "home", str(listed))
    assert list(skipped(tmp_path / "home").values()) == ["its name would lead out of the folder, or hide the file"]
    assert len(manifest(tmp_path / "home")) == 1


def test_a_server_that_asks_to_be_left_alone_ends_the_crawl(site, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "POLITE", type(CALM)(tries=3, backoff_seconds=0.01, longest_asked=5))
    publish(site, songs(4))
    site.answers["/files/Jazz/2.mp3"] = [(429, {"Retry-After": "7200"})]
    with pytest.raises(EchelonError, match=r"(?s)left alone for 7,200 s.*2 songs.*2  fetched"):
        crawl(site, tmp_path)
    assert "/files/Jazz/3.mp3" not in site.paths
    assert len(manifest(tmp_path)) == 2
    crawl(site, tmp_path)
    assert len(manifest(tmp_path)) == 4


def test_a_server_that_breaks_down_is_not_asked_for_all_the_rest(site, tmp_path):
    publish(site, songs(9))
    for n in range(2, 9):
        site.answers[f"/files/Jazz/{n}.mp3"] = [(500, {})] * 99
    with pytest.raises(
        EchelonError, match=r"(?s)3 songs in a row cannot be had.*500.*2 songs.*3  it cannot be reached"
    ):
        crawl(site, tmp_path)
    assert "/files/Jazz/5.mp3" not in site.paths


def test_songs_that_nobody_asks_for_do_not_hide_that_a_server_is_down(site, tmp_path):
    publish(site, [offer for pair in zip(songs(6), songs(6, "Rock"), strict=True) for offer in pair], "/all/")
    for n in range(6):
        site.answers[f"/files/Jazz/{n}.mp3"] = [(500, {})] * 99
    with pytest.raises(EchelonError, match="3 songs in a row cannot be had"):
        crawl(site, tmp_path, "/all/", genre="Jazz")
    assert "/files/Jazz/3.mp3" not in site.paths


def test_a_song_without_its_page_is_kept_without_its_licence(site, tmp_path, caplog):
    publish(site, songs(2))
    del site.files["/music/Jazz_0/"]
    said = crawl(site, tmp_path)
    assert [song.licence for song in manifest(tmp_path).values()] == ["", CC]
    assert "1  of them without a known licence" in said
    assert "Jazz 0 is kept without its licence" in caplog.text


SCRIPT = """
import signal, sys
from pathlib import Path
# What is started in the background ignores it, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from echelon.recipes.music.crawl.command import crawl
print(crawl(sys.argv[1], Path(sys.argv[2]), pause=0.0))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_crawl_leaves_a_valid_manifest_and_goes_on(site, tmp_path, how):
    offers = songs(4)
    publish(site, offers)
    site.files["/files/Jazz/2.mp3"] = wav(2, seconds=5)
    site.halts["/files/Jazz/2.mp3"] = 30_000
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{site.url}/genre/Jazz/", str(tmp_path)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    part_of_third(tmp_path, process, 30_000)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert "interrupted; run it again to go on" in said
        assert "2 songs" in said
    assert titles(tmp_path) == ["Jazz 0", "Jazz 1"]
    site.halts.clear()
    crawl(site, tmp_path)
    assert titles(tmp_path) == [f"Jazz {n}" for n in range(4)]
    assert "bytes=30000-" in site.asked
    check_whole(tmp_path)


def size_of(path: Path) -> int:
    """Of a file that may have got its own name meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def part_of_third(folder: Path, process: subprocess.Popen, size: int) -> None:
    deadline = time.monotonic() + 100
    while not any(size_of(path) == size for path in (folder / ".crawl").glob("*.part")):
        assert time.monotonic() < deadline, "nothing came"
        assert process.poll() is None
        time.sleep(0.005)
