"""What became of the songs that were looked at."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import IO, Self

from echelon.recipes.music.manifest import NAME, Song
from echelon.report.format import size

SKIPPED = "skipped.jsonl"


class Tally:
    """Counts songs, and writes what is left out and why to skipped.jsonl in their folder, anew each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[Song] = []
        self.there: list[Song] = []
        self.reasons: Counter[str] = Counter()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self._file = (self.folder / SKIPPED).open("w", encoding="utf-8")
        return self

    def __exit__(self, *failure: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def kept(self) -> int:
        """Songs that are in the folder now."""
        return len(self.fetched) + len(self.there)

    @property
    def seen(self) -> bool:
        """Whether there was any song to decide about."""
        return bool(self.kept or self.reasons)

    def skip(self, item: str, reason: str, detail: str = "") -> None:
        """A song is left out. reason: the same for all that are left out for it."""
        self.reasons[reason] += 1
        if self._file is not None:
            self._file.write(json.dumps({"item": item, "reason": reason, "detail": detail}) + "\n")
            self._file.flush()

    def told(self) -> str:
        """A table of it."""
        songs = [*self.fetched, *self.there]
        lines = [
            f"{len(songs):,} songs, {size(sum(song.bytes for song in songs))}, are in {self.folder}, with {NAME}",
            f"  {len(self.fetched):>6,}  fetched",
            f"  {len(self.there):>6,}  were there",
        ]
        if unknown := sum(not song.licence for song in songs):
            lines.append(f"  {unknown:>6,}  of them without a known licence")
        if self.reasons:
            lines.append(f"{self.reasons.total():,} left out, see {SKIPPED}")
            lines += [f"  {count:>6,}  {reason}" for reason, count in self.reasons.most_common()]
        return "\n".join(lines)
