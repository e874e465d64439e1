"""Songs that are offered, brought to a folder one at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from echelon.download.failure import Busy, Forbidden, Oversized, Refused, Unreachable
from echelon.download.file import File
from echelon.download.transfer import OnProgress, Progress
from echelon.download.visitor import Visitor
from echelon.errors import DataError, EchelonError, StorageError
from echelon.recipes.music.crawl.page import licence_in
from echelon.recipes.music.crawl.shelf import Left, Shelf
from echelon.recipes.music.crawl.tally import Tally
from echelon.recipes.music.crawl.track import Track, stem_of
from echelon.recipes.music.manifest import Song

_HOPELESS = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Which songs, and how many. genre: None is any. most_bytes: of one. licences: whether to look for them on the
    pages of songs.
    """

    count: int
    genre: str | None = None
    most_bytes: int = 100_000_000
    licences: bool = True


def collect(
    tracks: Iterator[Track], shelf: Shelf, visitor: Visitor, wanted: Wanted, tally: Tally, on_progress: OnProgress
) -> None:
    """Brings songs to a folder until there are as many as are wanted, or no more are offered.

    Those that are there from before count, and are not asked for again.

    Raises:
        Unreachable: three songs in a row cannot be had, or the server asks to be left alone. StorageError: the disk is
            full.
    """
    keeper = _Keeper(shelf, visitor, wanted)
    failures = 0
    while tally.kept < wanted.count and (track := next(tracks, None)) is not None:
        try:
            song = keeper.there(track)
        except Left as left:
            tally.skip(track.url, left.reason, left.detail)
            continue
        if song is not None:
            tally.there.append(song)
            continue
        try:
            name = f"{tally.kept + 1}/{wanted.count} {track.title or track.url.rpartition('/')[2]}"
            tally.fetched.append(keeper.bring(track, _named(name, on_progress)))
            failures = 0
        except Left as left:
            tally.skip(track.url, left.reason, left.detail)
            failures = 0
        except Busy:
            raise
        except Unreachable as error:
            tally.skip(track.url, "it cannot be reached, or breaks off again and again", str(error))
            failures += 1
            if failures == _HOPELESS:
                raise Unreachable(f"{failures} songs in a row cannot be had, the last one so: {error}") from None


def _named(name: str, on_progress: OnProgress) -> OnProgress:
    """Tells of a file under another name than its own."""

    def tell(progress: Progress) -> None:
        on_progress(replace(progress, name=name))

    return tell


class _Keeper:
    """What brings one song at a time."""

    def __init__(self, shelf: Shelf, visitor: Visitor, wanted: Wanted) -> None:
        self._shelf, self._visitor, self._wanted = shelf, visitor, wanted
        self._met: set[str] = set()

    def there(self, track: Track) -> Song | None:
        """The song if it was brought before.

        Raises:
            Left: it was offered already, or is not of the genre.
        """
        if track.url in self._met:
            raise Left("it is listed twice")
        self._met.add(track.url)
        if self._wanted.genre is not None and not track.is_of(self._wanted.genre):
            raise Left(f"it is not of the genre {self._wanted.genre}", "; ".join(track.genres))
        return self._shelf.whole(track.url)

    def bring(self, track: Track, on_progress: OnProgress) -> Song:
        """
        Raises:
            Left: it cannot be had, or should not be. Unreachable, StorageError: as `Visitor.fetch`.
        """
        try:
            stem = stem_of(track)
        except DataError as error:
            raise Left("its name would lead out of the folder, or hide the file", str(error)) from None
        scratch = self._fetched(track, stem, on_progress)
        sound = self._shelf.sound_of(scratch)
        licence = track.licence or self._licence_of(track)
        return self._shelf.put(scratch, stem, sound, replace(track, licence=licence))

    def _fetched(self, track: Track, stem: str, on_progress: OnProgress) -> Path:
        try:
            return self._visitor.fetch(File(track.url, stem), self._shelf.scratch, on_progress)
        except Refused as error:
            raise Left(f"the server answers {error.status}", str(error)) from None
        except Forbidden as error:
            raise Left(str(error)) from None
        except Oversized as error:
            raise Left("it is larger than is allowed", str(error)) from None
        except StorageError:
            raise
        except EchelonError as error:
            raise Left("it cannot be downloaded", str(error)) from None

    def _licence_of(self, track: Track) -> str:
        """The licence that its page names; "" if it has none that can be had.

        Raises:
            Busy: the server asks to be left alone.
        """
        if not (track.page and self._wanted.licences):
            return ""
        try:
            return licence_in(self._visitor.page(track.page).content)
        except Busy:
            raise
        except EchelonError as error:
            _log.warning("%s is kept without its licence: %s", track.title or track.url, error)
            return ""
