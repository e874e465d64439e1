"""Which songs there are, and to which split each belongs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from echelon.data.division import Division
from echelon.data.files import files_at, is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.music.manifest import NAME, Song, songs_of

SUPPORTED = (
    "files of sound (*.mp3, *.ogg, *.opus, *.flac, *.wav, *.aiff …), one song each: a folder, with folders in it or "
    "not, one file, or a pattern; what 'echelon music crawl' has fetched"
)
_LEAST_ITEM, _MOST_ITEM, _ITEMS = 128 << 10, 8 << 20, 64
"""Bytes of the files that a task reads, and how many tasks there shall be."""
_COMPRESSED = (".mp3", ".ogg", ".oga", ".opus")
_WAV_BYTES = 11
"""About how many bytes of a file that is not compressed one second takes, by those of one that is."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SongFile:
    """One file. size: its bytes. split: of the whole song."""

    path: str
    size: int
    split: str


Item = tuple[SongFile, ...]
"""What one task reads."""


@dataclass(frozen=True)
class Source:
    """Songs. others: how many files there are of other kinds, by their endings. known: of songs in a manifest there, by
    their paths.
    """

    storage: Storage
    songs: tuple[SongFile, ...]
    others: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, Song] = field(default_factory=dict)

    @property
    def items(self) -> list[Item]:
        """The songs as work for tasks, the most of it first, so that no long song is begun when all others are done.
        They depend on the files alone.
        """
        total = sum(song.size for song in self.songs)
        each = min(_MOST_ITEM, max(_LEAST_ITEM, total // _ITEMS))
        items: list[list[SongFile]] = []
        size = each
        for song in sorted(self.songs, key=lambda song: (-song.size, song.path)):
            if size + song.size > each:
                items.append([])
                size = 0
            items[-1].append(song)
            size += song.size
        return [tuple(item) for item in items]


def find_songs(url: str, endings: Sequence[str], division: Division) -> Source:
    """The files of sound at a URL in the order of their paths, and their splits.

    endings: of their names, in small letters, without a dot. Hidden files do not count. What is known of the songs is
    read from the manifest that the crawler leaves.

    Raises:
        DataError: there are none. StorageError: the storage cannot be reached.
    """
    storage, entries = files_at(url)
    shown = [entry for entry in entries if not is_hidden(entry.path)]
    found = [entry for entry in shown if _ending(entry.path) in endings]
    if not found:
        raise DataError(
            f"no songs were found at {url}: {_described(shown)}. Supported is {SUPPORTED}, here with the endings "
            f"{', '.join(endings)}"
        )
    splits = division.split_all([entry.path for entry in found])
    songs = tuple(SongFile(entry.path, entry.size, split) for entry, split in zip(found, splits, strict=True))
    others = Counter(_ending(entry.path) for entry in shown) - Counter(_ending(entry.path) for entry in found)
    return Source(storage, songs, dict(sorted(others.items())), _known(storage, shown))


def bytes_of(item: Item, rate: int) -> int:
    """About how many bytes the windows of some songs have."""
    of_each = (song.size if song.path.lower().endswith(_COMPRESSED) else song.size // _WAV_BYTES for song in item)
    return sum(of_each) * rate // 16_000


def _known(storage: Storage, entries: Sequence[Entry]) -> dict[str, Song]:
    """What manifests say of the songs beside them, by their paths. One that is damaged is told and left out."""
    known: dict[str, Song] = {}
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if name == NAME:
            try:
                songs = songs_of(storage.read(entry.path))
            except DataError as error:
                _log.warning("%s says nothing of the songs: %s", storage.url_of(entry.path), error)
                continue
            known |= {f"{folder}/{file}" if folder else file: song for file, song in songs.items()}
    return known


def _ending(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def _described(entries: Sequence[Entry]) -> str:
    return f"there are {len(entries)} files, such as {entries[0].path}" if entries else "there are no files"
