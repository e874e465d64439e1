"""Manifests of songs, also those whose writer was killed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from echelon.errors import DataError
from echelon.recipes.music.manifest import Manifest, Song, songs_of


def song(number: int, **fields) -> Song:
    known = {"title": f"T {number}", "artist": "Änn", "licence": "", "genre": "Jazz", "url": f"http://x/{number}",
             "file": f"{number}.mp3", "bytes": 3, "sha256": "0" * 64}  # fmt: skip
    return Song(**{**known, **fields})


def test_what_was_added_is_read_again_in_its_order(tmp_path):
    manifest = Manifest(tmp_path)
    for number in (3, 1, 2):
        manifest.add(song(number))
    read = Manifest(tmp_path)
    assert list(read.songs.values()) == [song(3), song(1), song(2)]
    assert read.songs == manifest.songs == songs_of((tmp_path / "manifest.jsonl").read_bytes())


def test_a_later_line_of_a_file_holds(tmp_path):
    manifest = Manifest(tmp_path)
    for title in ("old", "new"):
        manifest.add(song(1, title=title))
    assert [known.title for known in Manifest(tmp_path).songs.values()] == ["new"]


def test_any_end_of_a_killed_writer_is_valid_and_is_gone_on_from(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add(song(1))
    before = manifest.path.stat().st_size
    manifest.add(song(2))
    whole = manifest.path.read_bytes()
    for end in range(before, len(whole)):
        manifest.path.write_bytes(whole[:end])
        assert list(songs_of(whole[:end])) == ["1.mp3"]
        Manifest(tmp_path).add(song(3))
        assert list(Manifest(tmp_path).songs) == ["1.mp3", "3.mp3"]
        assert manifest.path.read_bytes().count(b"\n") == 2


def test_a_song_is_whole_while_its_file_is_there_with_all_its_bytes(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add(song(1))
    assert manifest.whole("http://x/1") is None
    (tmp_path / "1.mp3").write_bytes(b"abc")
    assert manifest.whole("http://x/1") == song(1)
    assert manifest.whole("http://x/2") is None
    (tmp_path / "1.mp3").write_bytes(b"ab")
    assert manifest.whole("http://x/1") is None


def test_keys_of_others_are_left_out():
    line = json.dumps({**asdict(song(1)), "mood": "blue"}).encode() + b"\n\n"
    assert songs_of(line) == {"1.mp3": song(1)}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"no json", "it needs the keys"),
        (b"[1]", "it needs the keys"),
        (json.dumps({"file": "x"}).encode(), "it needs the keys artist, bytes"),
        (json.dumps({**asdict(song(1)), "title": None}).encode(), "are texts, bytes a number"),
        (json.dumps({**asdict(song(1)), "bytes": "3"}).encode(), "are texts, bytes a number"),
        (json.dumps({**asdict(song(1)), "file": ""}).encode(), "are texts, bytes a number"),
    ],
)
def test_what_is_no_song_is_told_with_its_line(tmp_path: Path, line: bytes, told: str):
    (tmp_path / "manifest.jsonl").write_bytes(json.dumps(asdict(song(1))).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"manifest\.jsonl: line 2 is no song of a manifest: .*{told}"):
        Manifest(tmp_path)
