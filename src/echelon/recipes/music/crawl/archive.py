"""Songs out of the public archives of FMA, by genre, with what its tables tell about them.

Source: Defferrard et al., "FMA: a dataset for music analysis", ISMIR 2017 (arXiv:1612.01840), and
https://github.com/mdeff/fma, where the addresses and checksums are published. Its tracks.csv has two lines of headers
(a group, and a column in it), then one with the name of the key; songs are SUBSET/TTT/TTTTTT.mp3 by their keys.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from echelon.download.fetch import fetch
from echelon.download.file import File
from echelon.download.limits import USUAL, Limits
from echelon.download.transfer import OnProgress
from echelon.download.unzip import Zip
from echelon.errors import DataError
from echelon.recipes.music.crawl.collect import Wanted
from echelon.recipes.music.crawl.shelf import Left, Shelf
from echelon.recipes.music.crawl.tally import Tally
from echelon.recipes.music.crawl.track import Track, letters_of, plain
from echelon.recipes.music.manifest import Song

_HOME = "https://os.unil.cloud.switch.ch/fma"
_COLUMNS = {
    "subset": ("set", "subset"),
    "genre": ("track", "genre_top"),
    "title": ("track", "title"),
    "artist": ("artist", "name"),
    "licence": ("track", "license"),
}


@dataclass(frozen=True)
class Archive:
    """Songs, and the tables that tell about them. subset: whose songs are in it."""

    songs: File
    tables: File
    subset: str

    def at(self, mirror: str) -> Archive:
        """The same files from another host."""
        home = mirror.rstrip("/")
        return replace(
            self,
            songs=replace(self.songs, url=f"{home}/{self.songs.name}"),
            tables=replace(self.tables, url=f"{home}/{self.tables.name}"),
        )


ARCHIVES = {
    "fma_small": Archive(
        File(f"{_HOME}/fma_small.zip", "fma_small.zip", digest="sha1:ade154f733639d52e35e32f5593efe5be76c6d70"),
        File(f"{_HOME}/fma_metadata.zip", "fma_metadata.zip", digest="sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
        "small",
    )
}
"""8,000 clips of 30 s in 8 genres (7.7 GB, and 0.4 GB of tables), as published on 9 May 2017."""


@dataclass(frozen=True)
class Clip:
    """A row of tracks.csv."""

    number: int
    title: str
    artist: str
    licence: str
    genre: str

    def member(self, root: str) -> str:
        """Its file in an archive."""
        return f"{root}/{self.number // 1000:03d}/{self.number:06d}.mp3"

    def track(self, url: str) -> Track:
        """The song at an address."""
        return Track(url, self.title, self.artist, self.licence, tuple(filter(None, [self.genre])))


def collect_archive(
    archive: Archive, home: Path, shelf: Shelf, wanted: Wanted, tally: Tally, on_progress: OnProgress,
    limits: Limits = USUAL,
) -> None:  # fmt: skip
    """Brings songs of an archive to a folder, those of a genre by their numbers, until there are as many as are wanted.

    Args:
        home: folder for the archives themselves, which are fetched if they are not there.

    Raises:
        DataError: the tables are none, or have no song of the genre. EchelonError: as `fetch`.
    """
    tables = fetch(archive.tables, home, limits=limits, on_progress=on_progress)
    clips = clips_of(tables, archive.subset, wanted.genre)
    with Zip.of(fetch(archive.songs, home, limits=limits, on_progress=on_progress)) as files:
        for clip in clips:
            if tally.kept == wanted.count:
                break
            member = clip.member(archive.songs.name.removesuffix(".zip"))
            track = clip.track(f"{archive.songs.shown_url}#{member}")
            if (song := shelf.whole(track.url)) is not None:
                tally.there.append(song)
                continue
            try:
                tally.fetched.append(_brought(files, member, shelf, track, wanted.most_bytes))
            except Left as left:
                tally.skip(track.url, left.reason, left.detail)


def _brought(files: Zip, member: str, shelf: Shelf, track: Track, most_bytes: int) -> Song:
    stem, _, _ = member.rpartition("/")[2].partition(".")
    scratch = shelf.scratch / stem
    try:
        if files.size(member) > most_bytes:
            raise Left("it is larger than is allowed", f"{files.size(member):,} bytes")
        files.bring(member, scratch)
    except DataError as error:
        raise Left("it is not in the archive, or damaged", str(error)) from None
    return shelf.put(scratch, stem, shelf.sound_of(scratch), track)


def clips_of(tables: Path, subset: str, genre: str | None) -> list[Clip]:
    """The songs of a subset that are of a genre, by their numbers; genre: None is any.

    Raises:
        DataError: there is no tracks.csv of this form, or no such song; it says which genres there are.
    """
    with Zip.of(tables) as files:
        names = sorted(name for name in files.names if name.rpartition("/")[2] == "tracks.csv")
        if not names:
            raise DataError(f"{tables} holds no tracks.csv: it is not the tables of FMA")
        try:
            with files.opened(names[0]) as content:
                clips = [clip for known, clip in _rows(content) if known == subset]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"tracks.csv in {tables} cannot be read: {error}") from None
    chosen = [clip for clip in clips if genre is None or letters_of(clip.genre) == letters_of(genre)]
    if not chosen:
        counts = Counter(clip.genre for clip in clips)
        genres = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none at all"
        raise DataError(f"{tables} has no songs of the genre {genre!r} in the set '{subset}', which has: {genres}")
    return sorted(chosen, key=lambda clip: clip.number)


def _rows(content: IO[bytes]) -> Iterator[tuple[str, Clip]]:
    """Each song and its subset.

    Raises:
        DataError: the table is of another form.
    """
    with _wide_cells():
        rows = csv.reader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
        heads = list(zip(next(rows, []), next(rows, []), strict=False))
        missing = [f"{group} {name}" for group, name in _COLUMNS.values() if (group, name) not in heads]
        if missing:
            raise DataError(f"tracks.csv has no column {', '.join(missing)}: it is of another form")
        places = {key: heads.index(head) for key, head in _COLUMNS.items()}
        for row in rows:
            if len(row) != len(heads):
                raise DataError(f"line {rows.line_num} of tracks.csv has {len(row)} cells instead of {len(heads)}")
            if row[0].isdecimal():
                said = {key: plain(row[place]) for key, place in places.items()}
                yield said.pop("subset"), Clip(number=int(row[0]), **said)
            elif any(row[1:]):
                raise DataError(f"line {rows.line_num} of tracks.csv has no number, but {row[0]!r}")


@contextmanager
def _wide_cells() -> Iterator[None]:
    """Some artists tell more of themselves than the csv module takes by itself."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
