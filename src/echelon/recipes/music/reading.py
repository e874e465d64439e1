"""Songs read in a task: from their files to windows, with what is to be told of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

import numpy as np

from echelon.data.on_disk import on_disk
from echelon.data.storage import Storage
from echelon.errors import DataError, StorageError
from echelon.recipes.music.columns import Form
from echelon.recipes.music.listening import Heard, Wish, codes_of, listen
from echelon.recipes.music.sources import Item, SongFile
from echelon.recipes.music.told import Told
from echelon.recipes.music.windows import Window, values_of, windows_of
from echelon.spark.prepare import Found, Rows

SILENT_PEAK = 1e-3
"""A song that is never louder (-60 dB) is silent: scaled up it would only be noise."""
_SPOOLED = 16 << 20
"""Bytes of a song's samples that stay in memory, about four minutes; the rest is in a temporary file."""
_BATCH_BYTES = 4 << 20


@dataclass(frozen=True)
class ReadSongs:
    """The windows of the songs of an item, a few MB at a time, each song's in their order.

    min_seconds: songs of which less is to be had are left out.
    """

    storage: Storage
    form: Form
    wish: Wish
    min_seconds: float

    def __call__(self, item: Item) -> Iterator[Found]:
        for song in item:
            with SpooledTemporaryFile(max_size=_SPOOLED) as spool:
                yield from self._song(song, cast(BinaryIO, spool))

    def _song(self, song: SongFile, spool: BinaryIO) -> Iterator[Found]:
        told = Told(song.path)
        try:
            heard = self._heard(song, spool)
        except DataError as error:
            yield told.problem(str(error))
            return
        yield told.lengths(heard)
        if heard.lost is not None:
            yield told.problem(heard.lost)
        if heard.invalid:
            yield told.problem(f"{heard.invalid:,} samples are no numbers and count as silence")
        if (reason := self._useless(heard)) is not None:
            yield told.problem(reason)
            return
        digest = hashlib.blake2b(digest_size=8)
        windows: list[Window] = []
        for window in windows_of(self._codes(heard, spool, digest), self.form.window, self.form.context):
            windows.append(window)
            if len(windows) * len(window.samples) >= _BATCH_BYTES:
                yield Rows(values_of(song.path, windows), song.split)
                windows = []
        if windows:
            yield Rows(values_of(song.path, windows), song.split)
        yield told.codes(digest.hexdigest(), song.split)

    def _heard(self, song: SongFile, spool: BinaryIO) -> Heard:
        with on_disk(self.storage, song.path) as path:
            try:
                return listen(path, self.wish, spool)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise StorageError(f"cannot read {self.storage.url_of(song.path)}: {error}") from error

    def _useless(self, heard: Heard) -> str | None:
        """Why there is nothing to be taken from a song."""
        seconds = heard.samples / self.form.rate
        if not heard.samples or seconds < self.min_seconds:
            return f"{seconds:.2f} s of it are to be had, less than the {self.min_seconds:g} s of --min-seconds"
        if heard.peak < SILENT_PEAK:
            return f"it is silent: its largest sample is {heard.peak:.2g}"
        return None

    def _codes(self, heard: Heard, spool: BinaryIO, digest: Any) -> Iterator[np.ndarray]:
        for codes in codes_of(spool, heard, normalise=self.form.normalised):
            digest.update(codes)
            yield codes
