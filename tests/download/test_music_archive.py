"""`echelon music crawl fma_small`, from archives of the same form, made small."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from song_site import wav
from typer.testing import CliRunner
from web import Site, digest_of

from echelon.cli.app import build
from echelon.errors import DataError, EchelonError
from echelon.recipes.music.crawl import command
from echelon.recipes.music.crawl.archive import ARCHIVES, clips_of
from echelon.recipes.music.manifest import songs_of

HEADS = [("", ""), ("album", "title"), ("artist", "bio"), ("artist", "name"), ("set", "split"), ("set", "subset"),
         ("track", "genre_top"), ("track", "license"), ("track", "title")]  # fmt: skip
ROWS = {
    155066: ("New", "small", "Hip-Hop", "Attribution 4.0", "Last"),
    2: ("AWOL", "small", "Hip-Hop", "Attribution-NonCommercial 3.0", "Food"),
    5: ("AWOL", "medium", "Hip-Hop", "Attribution-NonCommercial 3.0", "This World"),
    10: ("Kurt\nVile", "small", "Pop", "Public Domain Mark 1.0", 'Freeway, "again"'),
    140: ("Alec", "small", "Folk", "Attribution 3.0", "Queen"),
    1482: ("Bell", "small", "Hip-Hop", "", "Late"),
}


def tables(rows: dict[int, tuple[str, ...]] = ROWS, bio: str = "long, " * 40_000) -> bytes:
    """fma_metadata.zip: two lines of headers, one with the key's name, and a cell longer than csv takes by itself."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for part in range(2):
        lines.writerow([head[part] for head in HEADS])
    lines.writerow(["track_id", *[""] * (len(HEADS) - 1)])
    for number, (artist, subset, genre, licence, title) in rows.items():
        lines.writerow([number, "A Way of Life", bio, artist, "training", subset, genre, licence, title])
        bio = ""
    return zipped({"fma_metadata/README.txt": b"", "fma_metadata/tracks.csv": text.getvalue().encode()},
                  zipfile.ZIP_BZIP2)  # fmt: skip


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return content.getvalue()


def sounds(*without: int) -> dict[str, bytes]:
    return {
        f"fma_small/{number // 1000:03d}/{number:06d}.mp3": wav(number)
        for number, row in ROWS.items()
        if row[1] == "small" and number not in without
    }


@pytest.fixture
def published(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    publish(site, monkeypatch, tables(), zipped(sounds()))
    return site


def publish(site: Site, monkeypatch: pytest.MonkeyPatch, metadata: bytes, songs: bytes) -> None:
    site.files |= {"/fma_metadata.zip": metadata, "/fma_small.zip": songs}
    real = ARCHIVES["fma_small"]
    ours = replace(
        real,
        songs=replace(real.songs, digest=digest_of(songs, "sha1")),
        tables=replace(real.tables, digest=digest_of(metadata, "sha1")),
    )
    monkeypatch.setitem(ARCHIVES, "fma_small", ours.at(site.url))


def numbers(folder: Path) -> list[str]:
    return list(songs_of((folder / "manifest.jsonl").read_bytes()))


def test_only_songs_of_the_genre_come_by_their_numbers(published, tmp_path):
    said = command.crawl("fma_small", tmp_path, genre="hip hop", count=2)
    assert numbers(tmp_path) == ["000002.wav", "001482.wav"]
    assert {p.name for p in tmp_path.iterdir()} == {*numbers(tmp_path), "archives", "manifest.jsonl", "skipped.jsonl"}
    first, second = songs_of((tmp_path / "manifest.jsonl").read_bytes()).values()
    assert (first.title, first.artist, first.licence, first.genre) == (
        "Food", "AWOL", "Attribution-NonCommercial 3.0", "Hip-Hop"
    )  # fmt: skip
    assert first.url == f"{published.url}/fma_small.zip#fma_small/000/000002.mp3"
    assert (tmp_path / "000002.wav").read_bytes() == wav(2)
    assert second.licence == ""
    assert "1  of them without a known licence" in said
    asked = len(published.asked)
    said = command.crawl("fma_small", tmp_path, genre="Hip-Hop", count=3)
    assert numbers(tmp_path) == ["000002.wav", "001482.wav", "155066.wav"]
    assert len(published.asked) == asked, "the archives are there"
    assert "2  were there" in said


def test_all_genres_come_without_one(published, tmp_path):
    command.crawl("fma_small", tmp_path, count=99)
    assert len(numbers(tmp_path)) == 5
    titles = [song.title for song in songs_of((tmp_path / "manifest.jsonl").read_bytes()).values()]
    assert titles[1] == 'Freeway, "again"'


def test_a_genre_that_there_is_not_is_told_before_the_songs_are_fetched(published, tmp_path):
    with pytest.raises(EchelonError, match=r"no songs of the genre 'Polka' .*: Folk 1, Hip-Hop 3, Pop 1"):
        command.crawl("fma_small", tmp_path, genre="Polka")
    assert published.paths == ["/fma_metadata.zip"]


def test_songs_that_are_missing_or_damaged_or_none_are_told_and_the_next_ones_come(site, monkeypatch, tmp_path):
    members = {**sounds(2), "fma_small/001/001482.mp3": b"<html>"}
    packed = bytearray(zipped(members))
    at = packed.index(wav(140))
    packed[at + 100] ^= 255
    publish(site, monkeypatch, tables(), bytes(packed))
    said = command.crawl("fma_small", tmp_path, count=99)
    assert numbers(tmp_path) == ["000010.wav", "155066.wav"]
    assert "2  it is not in the archive, or damaged" in said
    assert "1  what comes is no mp3, ogg, flac or wav" in said
    told = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [line["item"].rpartition("/")[2] for line in told] == ["000002.mp3", "000140.mp3", "001482.mp3"]


def test_what_is_not_the_published_archive_is_refused(site, tmp_path):
    """The checksums are those of its authors."""
    site.files |= {"/fma_metadata.zip": tables(), "/fma_small.zip": zipped(sounds())}
    arguments = ["music", "crawl", "fma_small", str(tmp_path), "--genre", "Pop", "--mirror", site.url]
    result = CliRunner().invoke(build(["music"]), arguments)
    assert isinstance(result.exception, EchelonError)
    assert "instead of f0df49ffe5f2a6008d7dc83c6915b31835dfe733" in str(result.exception)
    assert "/fma_small.zip" not in site.paths


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped({"fma_metadata/genres.csv": b""}), r"holds no tracks\.csv"),
        (zipped({"fma_metadata/tracks.csv": b""}), "no column set subset, track genre_top"),
        (zipped({"fma_metadata/tracks.csv": b"a,b\nc,d\n"}), "no column set subset"),
        (b"PK", "is no whole zip archive"),
    ],
)
def test_tables_of_another_form_are_told(tmp_path, content, told):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=told):
        clips_of(tmp_path / "x.zip", "small", None)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"7,a,b\n", "line 4 of tracks.csv has 3 cells instead of 9"),
        (b"seven,,,,,small,Pop,,T\n", "line 4 of tracks.csv has no number, but 'seven'"),
        (b'7,,,,,small,Pop,,"\xff"\n', "cannot be read"),
    ],
)
def test_lines_that_are_none_are_told(tmp_path, line, told):
    with zipfile.ZipFile(io.BytesIO(tables({}))) as packed:
        text = packed.read("fma_metadata/tracks.csv")
    (tmp_path / "x.zip").write_bytes(zipped({"fma_metadata/tracks.csv": text + line}))
    with pytest.raises(DataError, match=told):
        clips_of(tmp_path / "x.zip", "small", None)
    assert csv.field_size_limit() == 131_072, "the limit is as it was"
