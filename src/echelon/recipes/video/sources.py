"""Which TFRecord files there are, which of them are taken, and to which split they belong."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from echelon.data.division import TEST, TRAIN, VAL
from echelon.data.files import files_at, is_hidden
from echelon.data.storage import Entry, Storage
from echelon.errors import DataError
from echelon.recipes.video.options import AUTO, PrepareOptions

SUPPORTED = (
    "TFRecord files of YouTube-8M, of frames or of videos, as they are published (*.tfrecord, also .gz): "
    "a folder of them, or one"
)
_NAMES = re.compile(r".*\.tfrecords?(\.gz)?")
_SPLITS = (("train", TRAIN), ("validat", VAL), ("test", TEST))
"""How the names of public shards and of their folders begin."""
BY_IDS = None


@dataclass(frozen=True)
class Shard:
    """One file. size: its bytes. split: of all its videos; None for a division by their ids."""

    path: str
    size: int
    split: str | None

    @property
    def is_zipped(self) -> bool:
        return self.path.endswith(".gz")


def find_shards(url: str, options: PrepareOptions, *, everything: bool = False) -> tuple[Storage, tuple[Shard, ...]]:
    """The files to be read, in the order of their paths, and the storage that they are in.

    everything: all videos are for testing, unless names divide them.

    Raises:
        DataError: there are none, or their names do not divide them as they should.
    """
    storage, entries = files_at(url)
    found = [
        entry for entry in entries if _NAMES.fullmatch(_name(entry.path)) and not is_hidden(entry.path, underlined=True)
    ]
    if not found:
        raise DataError(f"no TFRecord files were found at {url}: {_described(entries)}. Supported is {SUPPORTED}")
    chosen = _matching(found, options.files)
    if not chosen:
        raise DataError(
            f"none of the {len(found)} files at {url}, such as {found[0].path}, matches --files {options.files!r}"
        )
    splits = _splits(chosen, options.split, everything)
    shards = [Shard(entry.path, entry.size, split) for entry, split in zip(chosen, splits, strict=True)]
    return storage, _part_of(shards, options.fraction)


def _matching(entries: Sequence[Entry], patterns: str | None) -> list[Entry]:
    """Files whose name or path matches one of the patterns; all without any."""
    if patterns is None:
        return list(entries)
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    return [
        entry for entry in entries
        if any(fnmatchcase(entry.path, one) or fnmatchcase(_name(entry.path), one) for one in wanted)
    ]  # fmt: skip


def _splits(entries: Sequence[Entry], split: str, everything: bool) -> list[str | None]:
    """
    Raises:
        DataError: names shall divide the files, but some do not.
    """
    named = [split_by_name(entry.path) for entry in entries]
    nameless = [entry.path for entry, name in zip(entries, named, strict=True) if name is None]
    if split == "names" and nameless:
        raise DataError(
            f"the names of {len(nameless)} files, such as {nameless[0]}, do not begin with train, validate or test: "
            "use --split ids, or choose files by --files"
        )
    if split == "names" or (split == AUTO and not nameless and len(set(named)) > 1):
        return list(named)
    return [TEST if everything else BY_IDS] * len(entries)


def split_by_name(path: str) -> str | None:
    """What a file, or else the nearest folder of it, is called after."""
    for part in reversed(path.lower().split("/")):
        for beginning, split in _SPLITS:
            if part.startswith(beginning) or part == split:
                return split
    return None


def _part_of(shards: Sequence[Shard], fraction: float) -> tuple[Shard, ...]:
    """A part of the shards of each split. A larger part holds every smaller one."""
    by_split: dict[str | None, list[Shard]] = defaultdict(list)
    for shard in shards:
        by_split[shard.split].append(shard)
    kept: set[Shard] = set()
    for of_split in by_split.values():
        of_split.sort(key=lambda shard: (_place(shard.path), shard.path))
        kept.update(of_split[: max(1, math.ceil(fraction * len(of_split)))])
    return tuple(shard for shard in shards if shard in kept)


def _place(text: str) -> float:
    """A number in [0, 1) that looks drawn, and is always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _described(entries: Sequence[Entry]) -> str:
    if not entries:
        return "there are no files"
    names = [_name(entry.path) for entry in entries]
    endings = Counter("." + name.rpartition(".")[2] if "." in name else "no ending" for name in names)
    kinds = ", ".join(f"{count} with {ending}" for ending, count in endings.most_common(4))
    return f"there are {len(entries)} files ({kinds}), such as {entries[0].path}"
