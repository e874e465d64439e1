"""A folder of songs: what is brought there, and when it counts."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from echelon.download.locked import locked
from echelon.recipes.music.crawl.kinds import suffix_of
from echelon.recipes.music.crawl.track import Track
from echelon.recipes.music.manifest import Manifest, Song

_SCRATCH = ".crawl"


class Left(Exception):
    """A song that is left out. reason: the same for all that are left out for it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Sound:
    """What a file was found to hold."""

    suffix: str
    bytes: int
    sha256: str


class Shelf:
    """A folder of songs and its manifest. Made by `Shelf.at`, which keeps other processes away from it.

    A song counts when the manifest names it. What comes lies in `scratch` until it is known to be one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.scratch = folder, folder / _SCRATCH
        self._manifest = Manifest(folder)
        songs = self._manifest.songs.values()
        self._sounds = {song.sha256: song.file for song in songs if self._manifest.whole(song.url) == song}

    @classmethod
    @contextmanager
    def at(cls, folder: Path) -> Iterator[Shelf]:
        """
        Raises:
            EchelonError: another process brings songs there. StorageError: it cannot be written. DataError: its
                manifest is none.
        """
        with locked(folder / _SCRATCH / "lock", "bringing songs to the folder of"):
            shelf = cls(folder)
            try:
                yield shelf
            finally:
                # What has begun to come stays, to go on from there.
                if {path.name for path in shelf.scratch.iterdir()} == {"lock"}:
                    shutil.rmtree(shelf.scratch, ignore_errors=True)

    def whole(self, url: str) -> Song | None:
        """The song that was brought from an address before, if it is still as it came."""
        return self._manifest.whole(url)

    def sound_of(self, scratch: Path) -> Sound:
        """What a file in `scratch` holds; one that is left out is deleted.

        Raises:
            Left: it is nothing that is kept, or another song of the folder.
        """
        sound = Sound(suffix_of(scratch) or "", scratch.stat().st_size, sha256_of(scratch))
        other = self._sounds.get(sound.sha256)
        if sound.suffix and other is None:
            return sound
        scratch.unlink()
        if other is not None:
            raise Left("it is the same to the byte as another song", other)
        raise Left("what comes is no mp3, ogg, flac or wav")

    def put(self, scratch: Path, stem: str, sound: Sound, track: Track) -> Song:
        """Gives a file in `scratch` its name, and then its line in the manifest. What is killed between the two is
        found again by its sound.

        Raises:
            Left: something else has the name. StorageError: the disk is full, or does not take it.
        """
        song = Song(
            title=track.title,
            artist=track.artist,
            licence=track.licence,
            genre="; ".join(track.genres),
            url=track.url,
            file=f"{stem}{sound.suffix}",
            bytes=sound.bytes,
            sha256=sound.sha256,
        )
        target, ours = self.folder / song.file, self._manifest.songs.get(song.file)
        if target.exists() and (ours is None or ours.url != song.url) and sha256_of(target) != song.sha256:
            scratch.unlink()
            raise Left("something else has its name in the folder", song.file)
        os.replace(scratch, target)
        self._manifest.add(song)
        self._sounds[song.sha256] = song.file
        return song


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
