"""`echelon music crawl`, from a site that has the faults of sites."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from song_site import CC, Offer, page, publish, songs, wav
from web import CALM, Site

from echelon.errors import EchelonError
from echelon.recipes.music.crawl import command
from echelon.recipes.music.manifest import Song, songs_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLITE", CALM)


def crawl(site: Site, folder: Path, listing: str = "/genre/Jazz/", **options) -> str:
    address = listing if "." in listing else site.url + listing
    return command.crawl(address, folder, **{"pause": 0.0, "count": 10, **options})


def manifest(folder: Path) -> dict[str, Song]:
    return songs_of((folder / "manifest.jsonl").read_bytes())


def titles(folder: Path) -> list[str]:
    return [song.title for song in manifest(folder).values()]


def skipped(folder: Path) -> dict[str, str]:
    lines = (folder / "skipped.jsonl").read_text().splitlines()
    return {line["item"].rpartition("/")[2]: line["reason"] for line in map(json.loads, lines)}


def check_whole(folder: Path) -> None:
    """What the manifest says is what lies there, and nothing else does."""
    known = manifest(folder)
    for song in known.values():
        content = (folder / song.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (song.bytes, song.sha256)
    assert {path.name for path in folder.iterdir()} == {*known, "manifest.jsonl", "skipped.jsonl"}


def test_only_as_many_songs_as_are_wanted_come_and_only_the_pages_they_are_on(site, tmp_path):
    publish(site, songs(9), each=3)
    said = crawl(site, tmp_path, count=5)
    assert titles(tmp_path) == [f"Jazz {n}" for n in range(5)]
    check_whole(tmp_path)
    assert [path for path in site.paths if path.startswith("/genre")] == ["/genre/Jazz/", "/genre/Jazz/?page=2"]
    assert sum(path.startswith("/files") for path in site.paths) == 5
    assert "5 songs" in said
    assert f"echelon music prepare {tmp_path} DATASET" in said


def test_a_manifest_tells_what_the_listing_and_the_page_of_a_song_tell(site, tmp_path):
    publish(site, [Offer("Größe & Co", "/files/a.mp3", "Ünder “Dog”", ("Jazz", "Be-Bop"), "Größe.mp3")])
    crawl(site, tmp_path)
    (song,) = manifest(tmp_path).values()
    assert (song.title, song.artist, song.licence, song.genre) == ("Größe & Co", "Ünder “Dog”", CC, "Jazz; Be-Bop")
    assert song.url == f"{site.url}/files/a.mp3"
    assert song.file.startswith("Größe-")
    assert song.file.endswith(".wav"), "what it holds counts, not what it is called"


def test_licences_are_not_asked_for_where_they_are_not_wanted(site, tmp_path):
    publish(site, songs(2))
    said = crawl(site, tmp_path, licences=False)
    assert not any(path.startswith("/music") for path in site.paths)
    assert "2  of them without a known licence" in said


def test_only_the_genre_that_is_wanted_comes(site, tmp_path):
    offers = [*songs(3), *songs(2, "Rock"), Offer("Both", "/files/b.mp3", genres=("Rock", "Hip-Hop"))]
    publish(site, offers, "/all/")
    said = crawl(site, tmp_path, "/all/", genre="hip hop")
    assert titles(tmp_path) == ["Both"]
    assert "5  it is not of the genre hip hop" in said
    assert "offers no more than these, of 10" in said
    assert set(skipped(tmp_path).values()) == {"it is not of the genre hip hop"}


def test_the_page_of_a_genre_is_found_from_the_site_alone(site, tmp_path):
    publish(site, [Offer("A", "/files/a.mp3", told=False)], "/genre/Old-Time__Historic/")
    crawl(site, tmp_path, "", genre="Old-Time / Historic")
    assert titles(tmp_path) == ["A"], "a song without genres is of that of its page"


def test_what_is_whole_is_not_asked_for_again(site, tmp_path):
    publish(site, songs(4))
    crawl(site, tmp_path, count=2)
    before = len(site.paths)
    said = crawl(site, tmp_path, count=3)
    assert site.paths[before:] == ["/robots.txt", "/genre/Jazz/", "/files/Jazz/2.mp3", "/music/Jazz_2/"]
    assert "1  fetched" in said
    assert "2  were there" in said
    check_whole(tmp_path)


def test_a_song_that_was_deleted_or_cut_comes_again(site, tmp_path):
    publish(site, songs(3))
    crawl(site, tmp_path)
    first, second, third = manifest(tmp_path)
    (tmp_path / first).unlink()
    (tmp_path / second).write_bytes(b"RIFF")
    before = len(site.paths)
    crawl(site, tmp_path)
    assert [path for path in site.paths[before:] if path.startswith("/files")] == [
        "/files/Jazz/0.mp3",
        "/files/Jazz/1.mp3",
    ]
    check_whole(tmp_path)
    assert set(manifest(tmp_path)) == {first, second, third}


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


def test_pages_that_lead_in_a_circle_come_to_an_end(site, tmp_path):
    publish(site, songs(2))
    site.files["/genre/Jazz/"] = page(site, songs(2), "?page=2")
    site.files["/genre/Jazz/?page=2"] = page(site, songs(2, start=2), "?page=3")
    site.files["/genre/Jazz/?page=3"] = page(site, songs(2), "?page=4")
    site.files["/genre/Jazz/?page=4"] = page(site, songs(2), "?page=5")
    site.files |= {f"/files/Jazz/{n}.mp3": wav(n) for n in range(4)}
    crawl(site, tmp_path)
    assert len(titles(tmp_path)) == 4
    assert "/genre/Jazz/?page=4" not in site.paths, "the third page brought nothing new"


def test_a_page_whose_next_is_itself_is_asked_once(site, tmp_path):
    publish(site, songs(2))
    site.files["/genre/Jazz/"] = site.files["/genre/Jazz/"].replace(b"</body>", b'<a rel="next" href=".">on</a></body>')
    crawl(site, tmp_path)
    assert site.paths.count("/genre/Jazz/") == 1


def test_no_more_pages_are_asked_than_allowed(site, tmp_path):
    publish(site, songs(9), each=1)
    crawl(site, tmp_path, pages=3)
    assert len(titles(tmp_path)) == 3


def test_a_listing_that_robots_txt_forbids_is_not_asked(site, tmp_path):
    publish(site, songs(2))
    site.files["/robots.txt"] = b"User-agent: *\nDisallow: /genre/"
    with pytest.raises(EchelonError, match=r"robots\.txt forbids it"):
        crawl(site, tmp_path)
    assert site.paths == ["/robots.txt"]


def test_requests_keep_their_distance(site, tmp_path):
    publish(site, songs(2))
    crawl(site, tmp_path, pause=0.2)
    times = [when for _, when in site.visits]
    assert len(times) == 6
    assert times[-1] - times[0] >= 0.8


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


def test_songs_that_say_nothing_of_where_they_are_are_told(site, tmp_path):
    publish(site, songs(1))
    broken = b"<div data-track-info='{no json'></div><div data-track-info='[]'></div><div data-track-info='{}'></div>"
    site.files["/genre/Jazz/"] += broken
    said = crawl(site, tmp_path)
    assert "3  the listing does not say where its sound is" in said
    assert titles(tmp_path) == ["Jazz 0"]


@pytest.mark.parametrize("content", [b"<html><body>We have moved</body></html>", b"", b"\xff\xfe\x00bad" * 99, wav(1)])
def test_a_page_without_songs_is_no_listing(site, tmp_path, content):
    site.files["/genre/Jazz/"] = content
    with pytest.raises(EchelonError, match=r"lists no songs in a form that is known"):
        crawl(site, tmp_path)


def test_what_is_neither_address_nor_list_is_told(site, tmp_path):
    for listing in ("somewhere.html", "fma_large.zip"):
        with pytest.raises(EchelonError, match=rf"'{listing}' is nothing to get songs from"):
            command.crawl(listing, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EchelonError, match=r"list .*none\.txt cannot be read"):
        command.crawl(str(tmp_path / "none.txt"), tmp_path)
    with pytest.raises(EchelonError, match=r"--mirror .* is for fma_small"):
        command.crawl(site.url, tmp_path, mirror="http://x")


def test_lists_of_all_kinds_bring_the_same(site, tmp_path):
    site.files |= {f"/files/{n}.mp3": wav(n) for n in range(3)}
    urls = [f"{site.url}/files/{n}.mp3" for n in range(3)]
    lists = {
        "a.txt": "# mine\n\n" + "\n".join(urls) + "\nnot an address\n",
        "b.csv": "title,url,license\n" + "".join(f'"T, {n}",{url},{CC}\n' for n, url in enumerate(urls)) + "no,,\n",
        "c.jsonl": "".join(json.dumps({"url": url, "artist": "A", "genre": "X; Y"}) + "\n" for url in urls)
        + "[1]\n{\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        said = crawl(site, tmp_path / name[0], str(tmp_path / name))
        assert [song.url for song in manifest(tmp_path / name[0]).values()] == urls
        assert f"{2 if name == 'c.jsonl' else 1}  it has no address in the list" in said
    assert {song.licence for song in manifest(tmp_path / "b").values()} == {CC}
    assert titles(tmp_path / "b") == ["T, 0", "T, 1", "T, 2"]
    assert {song.genre for song in manifest(tmp_path / "c").values()} == {"X; Y"}
    crawl(site, tmp_path / "d", str(tmp_path / "b" / "manifest.jsonl"))
    assert manifest(tmp_path / "d") == manifest(tmp_path / "b"), "a manifest is a list too"


def test_addresses_of_a_list_that_are_none_are_told_and_the_others_come(site, tmp_path):
    site.files["/a.mp3"] = wav(1)
    (tmp_path / "a.txt").write_text(f"http://a b/x.mp3\nhttp://[/x\nhttp://x:99999/y\n{site.url}/a.mp3\n")
    said = crawl(site, tmp_path / "home", str(tmp_path / "a.txt"))
    assert len(manifest(tmp_path / "home")) == 1
    assert "3  it cannot be downloaded" in said


def test_half_a_letter_in_an_address_of_a_list_does_not_matter(site, tmp_path):
    """JSON can say what no file can hold."""
    site.files |= {"/a%20b.mp3": wav(1)}
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{site.url}/a\\ud800b.mp3"}}\n')
    crawl(site, tmp_path / "home", str(tmp_path / "a.jsonl"))
    check_whole(tmp_path / "home")


def test_an_address_that_a_list_has_twice_comes_once(site, tmp_path):
    site.files["/a.mp3"] = wav(1)
    (tmp_path / "a.txt").write_text(f"{site.url}/a.mp3\n" * 2)
    said = crawl(site, tmp_path / "home", str(tmp_path / "a.txt"))
    assert site.paths.count("/a.mp3") == 1
    assert "1  it is listed twice" in said


def test_files_of_others_are_never_replaced(site, tmp_path):
    publish(site, songs(1))
    crawl(site, tmp_path / "other")
    (name,) = manifest(tmp_path / "other")
    home = tmp_path / "home"
    home.mkdir()
    (home / name).write_bytes(b"mine")
    with pytest.raises(EchelonError, match="1  something else has its name in the folder"):
        crawl(site, home)
    assert (home / name).read_bytes() == b"mine"


def test_two_crawls_do_not_share_a_folder(site, tmp_path):
    publish(site, songs(1))
    with command.Shelf.at(tmp_path), pytest.raises(EchelonError, match="another process"):
        crawl(site, tmp_path)


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
