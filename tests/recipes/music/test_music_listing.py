"""Listings as pages, names of files, and which kind of sound a file holds."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echelon.errors import DataError
from echelon.recipes.music.crawl.kinds import suffix_of
from echelon.recipes.music.crawl.page import genre_page, licence_in, listing_in
from echelon.recipes.music.crawl.track import Track, plain, stem_of

HERE = "https://freemusicarchive.org/genre/Jazz/?sort=track_date_published&page=2"
INFO = {
    "id": 17786,
    "handle": "Night_Train",
    "url": "https://freemusicarchive.org/music/Some_Body/An_EP/Night_Train/",
    "title": "Night Train",
    "artistName": "Some Body",
    "artistUrl": "https://freemusicarchive.org/music/Some_Body/",
    "albumTitle": "An EP",
    "playbackUrl": "https://freemusicarchive.org/track/Night_Train/stream/",
    "downloadUrl": "https://freemusicarchive.org/track/Night_Train/download/",
    "fileName": "Some_Body_-_01_-_Night_Train.mp3",
    "fileUrl": "https://files.freemusicarchive.org/storage/music/Some_Body_-_01_-_Night_Train.mp3",
}
TRACK = Track(
    url=INFO["fileUrl"],
    title="Night Train",
    artist="Some Body",
    genres=("Jazz", "Be-Bop"),
    page=INFO["url"],
    name=INFO["fileName"],
)


def page(info: object, within: str = "", after: str = "") -> bytes:
    attribute = html.escape(json.dumps(info).replace("/", "\\/"))
    return f'<html><body><div class="play-item" data-track-info="{attribute}">{within}</div>{after}</body>'.encode()


OLD = '<span class="ptxt-genre"><a href="/genre/Jazz/">Jazz</a>, <a href="/genre/Be-Bop/">\n Be-Bop </a></span>'
NEW = '<span class="inline-flex ptxt-genre">Jazz, Be-Bop</span>'


@pytest.mark.parametrize("within", [OLD, NEW])
def test_a_song_is_what_its_element_tells(within):
    assert listing_in(page(INFO, within), HERE).tracks == (TRACK,)


def test_where_there_is_no_file_there_is_what_players_are_given():
    info = {**INFO, "fileUrl": "", "fileName": None}
    (track,) = listing_in(page(info), HERE).tracks
    assert (track.url, track.name, track.genres) == (INFO["playbackUrl"], "", ("Jazz",))


def test_addresses_may_be_relative():
    (track,) = listing_in(page({**INFO, "fileUrl": "/f/x.mp3#t=3", "url": "../y"}), HERE).tracks
    assert track.url == "https://freemusicarchive.org/f/x.mp3"
    assert track.page == "https://freemusicarchive.org/genre/y"


@pytest.mark.parametrize("info", [None, [], "x", 3, {}, {"fileUrl": 3}, {"title": "no address"}])
def test_what_says_nothing_is_unreadable_and_not_lost(info):
    listing = listing_in(page(info), HERE)
    assert (listing.tracks, len(listing.unreadable)) == ((), 1)


@pytest.mark.parametrize("said", ["no json", "{", "[" * 100_000, '{"fileUrl": "' + "9" * 5000])
def test_what_is_no_json_is_unreadable_and_not_lost(said):
    listing = listing_in(f'<a data-track-info="{html.escape(said)}"></a>'.encode() + page(INFO), HERE)
    assert (len(listing.tracks), listing.unreadable) == (1, (said,))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("begun", ["<a ", '<a href="', "<!--", "</a", "<![CDATA[", "&amp", "<a b='"])
def test_a_page_that_never_ends_what_it_begins_is_read_at_once(begun):
    """Parsers whose time grows with the square of it take days for what is allowed to come."""
    assert listing_in(page(INFO) + begun.encode() * 100_000, HERE).tracks[0].url == INFO["fileUrl"]


def test_a_page_that_is_deeper_than_pages_are_is_not_read():
    with pytest.raises(DataError, match="more than 100 elements"):
        listing_in(b"<div>" * 300 + page(INFO), HERE)
    assert len(listing_in(b"<div>" * 90 + page(INFO), HERE).tracks) == 1


@pytest.mark.parametrize(
    ("links", "following"),
    [
        ('<a href="?sort=track_date_published&page=3">3</a>', "/genre/Jazz/?sort=track_date_published&page=3"),
        ('<a href="/genre/Jazz?page=1">1</a><a href="/genre/Jazz?page=3">3</a>', "/genre/Jazz?page=3"),
        ('<a href="?page=4">4</a><a rel="next nofollow" href="?page=33">on</a>', "/genre/Jazz/?page=33"),
        ('<link rel="next" href="/other">', "/other"),
        ('<a href="?page=2">2</a><a href="?page=1">1</a>', None),
        ('<a href="/genre/Rock/?page=3">3</a>', None),
        ('<a href="http://[?page=3">3</a><a>3</a><a href="javascript:void(0)">x</a>', None),
        (f'<a href="?page={"9" * 5000}">3</a>', None),
    ],
)
def test_the_next_page_is_the_next_number(links, following):
    found = listing_in(page(INFO, after=links), HERE).next
    assert found == (None if following is None else f"https://freemusicarchive.org{following}")


def test_the_first_page_has_no_number():
    found = listing_in(page(INFO, after='<a href="?page=2">2</a>'), "https://x.org/genre/Jazz")
    assert found.next == "https://x.org/genre/Jazz?page=2"


CC = "https://creativecommons.org/licenses/by-nc/4.0/"


@pytest.mark.parametrize(
    ("content", "licence"),
    [
        (f'<a href="{CC}">x</a>', CC),
        (f'<a href="{CC}">x</a><a href="{CC}"><img></a>', CC),
        ('<a href="/mine" rel="license nofollow">x</a>', "/mine"),
        (f'<a href="{CC}">x</a><a rel="license" href="/mine">x</a>', "/mine"),
        ('<a href="http://creativecommons.org/publicdomain/zero/1.0/">x</a>', "http://creativecommons.org/publicdomain/zero/1.0/"),
        (f'<a href="{CC}">x</a><a href="{CC.replace("-nc", "")}">y</a>', ""),
        ('<a href="https://creativecommons.org/about">x</a>', ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_licence_is_named_where_it_is_certain(content, licence):
    assert licence_in(content.encode()) == licence


@pytest.mark.parametrize(
    ("genre", "page"),
    [("Jazz", "Jazz"), ("Hip-Hop", "Hip-Hop"), ("Old-Time / Historic", "Old-Time__Historic"), ("Soul-R&B", "Soul-RB")],
)
def test_a_genre_has_a_page(genre, page):
    assert genre_page("https://freemusicarchive.org", genre) == f"https://freemusicarchive.org/genre/{page}/"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_page(content):
    assert listing_in(content, HERE).tracks == ()
    assert licence_in(content) == ""


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_name_is_one_in_the_folder_or_refused(name, title, last):
    """Also for those that only look like one: of other scripts, of halves of letters, of devices."""
    track = Track(f"http://x/{last}", title=plain(title), name=name)
    try:
        stem = stem_of(track)
    except DataError:
        return
    home = Path("/home/songs")
    path = home / f"{stem}.mp3"
    assert path.parent == home
    assert path.resolve().parent == home
    assert not stem.startswith(".")
    assert len(stem.encode()) < 250
    assert stem == stem_of(track)
    assert stem != stem_of(Track(f"http://y/{last}", title=track.title, name=name))


def test_names_tell_the_song():
    assert stem_of(TRACK).startswith("Some_Body_-_01_-_Night_Train-")
    assert stem_of(Track("http://x/track/a/stream/", "T", "A")).startswith("A_-_T-")
    assert stem_of(Track("http://x/a%20b.ogg")).startswith("a_b-")
    assert stem_of(Track("http://x/")).startswith("song-")
    assert stem_of(Track("http://x/", name="AC/DC - T.N.T..mp3")).startswith("AC_DC_-_T.N.T-")


def test_names_leave_room_for_what_downloads_add():
    """File systems take 255 bytes, and some letters have four."""
    stem = stem_of(Track("http://x/a.flac", title="\U0001d56c" * 300))
    assert stem.startswith("\U0001d56c" * 40)
    assert len(f"{stem}.flac.part.json".encode()) < 255


def test_texts_lose_what_cannot_be_stored():
    assert plain(" a\n\tb\x00\ud800c\u2028 ") == "a b c"


KINDS = {
    b"ID3\x04\x00\x00\x00\x00\x00\x00": ".mp3",
    b"\xff\xfb\x90\x64\x00": ".mp3",
    b"\xff\xf3\x40\xc0": ".mp3",
    b"OggS\x00\x02": ".ogg",
    b"fLaC\x00\x00": ".flac",
    b"RIFF\x24\x00\x00\x00WAVEfmt ": ".wav",
    b"RF64\xff\xff\xff\xffWAVEds64": ".wav",
    b"RIFF\x24\x00\x00\x00AVI LIST": None,
    b"\xff\xfe<\x00h\x00": None,
    b"\xff\xfeA\x00l\x00": None,
    b"\xff\xff\xff\xff": None,
    b"<!DOCTYPE html>": None,
    b"\x00\x00\x00\x20ftypM4A ": None,
    b"\xff": None,
    b"": None,
}


@pytest.mark.parametrize("head", KINDS)
def test_the_first_bytes_tell_the_kind(tmp_path, head):
    (tmp_path / "x").write_bytes(head)
    assert suffix_of(tmp_path / "x") == KINDS[head]


@pytest.mark.parametrize(("name", "form"), [("WAV", ".wav"), ("FLAC", ".flac"), ("OGG", ".ogg"), ("MP3", ".mp3")])
def test_what_a_library_writes_is_known(tmp_path, name, form):
    soundfile = pytest.importorskip("soundfile")
    content = io.BytesIO()
    soundfile.write(content, np.zeros(8000, np.float32), 8000, format=name)
    (tmp_path / "x").write_bytes(content.getvalue())
    assert suffix_of(tmp_path / "x") == form


def test_real_songs_are_known(shared_data):
    files = [path for path in (shared_data / "music").rglob("*") if path.suffix in (".mp3", ".ogg", ".flac", ".wav")]
    assert len(files) > 50
    assert {path.name: suffix_of(path) for path in files} == {path.name: path.suffix for path in files}
