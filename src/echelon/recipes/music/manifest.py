"""What is known of the songs in a folder: manifest.jsonl, one line of JSON for each file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from echelon.errors import DataError, StorageError

NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Song:
    """A file with a song, and where it comes from. Each text but `url` and `file` is empty where it is not known.

    licence: an address, such as https://creativecommons.org/licenses/by/4.0/, or a name. genre: several are separated
    by "; ". url: that it was fetched from; of a file in an archive that of the archive, # and the name within. file:
    in the folder of the manifest. bytes: its size. sha256: hexadecimal.
    """

    title: str
    artist: str
    licence: str
    genre: str
    url: str
    file: str
    bytes: int
    sha256: str


def songs_of(content: bytes) -> dict[str, Song]:
    """The songs of a manifest by their files; of two lines for one file, the later holds.

    A last line without an end is one that was being written when its writer was killed, and does not count. Keys of
    other programs are left out.

    Raises:
        DataError: a line is no song.
    """
    whole, end, _ = content.rpartition(b"\n")
    songs: dict[str, Song] = {}
    for number, line in enumerate((whole + end).splitlines(), 1):
        if line.strip():
            song = _song(line, number)
            songs[song.file] = song
    return songs


def json_of(text: str | bytes) -> Any:
    """What a text of JSON says; None if it is none, or lists lie in lists so deep that Python does not read it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Manifest:
    """The manifest of a folder on this machine, to which songs are added one at a time; a killed writer leaves a valid
    one. One writer at a time may have it.

    Raises:
        DataError: what is there is no manifest. StorageError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            self._songs = songs_of(content)
        except DataError as error:
            raise DataError(f"{self.path}: {error}; mend the line or take another folder") from None
        self._by_url = {song.url: song for song in self._songs.values()}
        self._whole = content.rfind(b"\n") + 1

    @property
    def songs(self) -> Mapping[str, Song]:
        """By file."""
        return self._songs

    def whole(self, url: str) -> Song | None:
        """The song that came from an address and is still there as it came, if there is one."""
        song = self._by_url.get(url)
        path = self.path.parent / song.file if song else None
        return song if song and path and path.is_file() and path.stat().st_size == song.bytes else None

    def add(self, song: Song) -> None:
        """Adds a song whose file is in the folder already, and puts it onto the disk.

        Raises:
            StorageError: the disk is full, or does not take it for another reason.
        """
        line = json.dumps(asdict(song), ensure_ascii=False).encode() + b"\n"
        try:
            with self.path.open("r+b" if self.path.exists() else "xb") as content:
                # What a killed writer left of a line goes, or the next line would be joined to it.
                content.truncate(self._whole)
                content.seek(self._whole)
                content.write(line)
                content.flush()
                os.fsync(content.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error
        self._whole += len(line)
        self._songs[song.file] = self._by_url[song.url] = song


def _song(line: bytes, number: int) -> Song:
    said = json_of(line)
    known = {field.name for field in fields(Song)}
    if not isinstance(said, dict) or not known <= said.keys():
        raise DataError(f"line {number} is no song of a manifest: it needs the keys {', '.join(sorted(known))}")
    texts = known - {"bytes"}
    if not all(isinstance(said[name], str) for name in texts) or not isinstance(said["bytes"], int) or not said["file"]:
        raise DataError(f"line {number} is no song of a manifest: {', '.join(sorted(texts))} are texts, bytes a number")
    return Song(**{name: said[name] for name in known})
