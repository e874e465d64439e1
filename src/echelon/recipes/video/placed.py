"""Records that are found before the shuffle and read behind it, from where they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from echelon.data.cells import Decoded
from echelon.data.division import TRAIN, Division
from echelon.data.schema import Column, Schema
from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.video.damage import told
from echelon.recipes.video.examples import Example, Form, key_at_front, key_of
from echelon.recipes.video.rows import CUT, cut_of, values_of, video_of
from echelon.recipes.video.shards import beginnings, contents_at
from echelon.recipes.video.sources import Shard
from echelon.recipes.video.tfrecord import Loss, Place
from echelon.spark import prepare as spark

_TRAVELLING = Schema(tuple(Column(name, "int64") for name in ("shard", "number", "start", "length")))
_ROWS_AT_ONCE = 64
"""Of 300 frames, 22 MB."""
_PLACES_AT_ONCE = 4096
_REQUESTS = 8
"""At the same time, to a storage that is far away."""


@dataclass(frozen=True)
class Locate:
    """The places of the records of a shard, in a task. The shards are numbered."""

    storage: Storage
    division: Division

    def __call__(self, item: tuple[int, Shard]) -> Iterator[spark.Found]:
        number, shard = item
        held: list[Place] = []
        splits: list[str] = []
        for found in beginnings(self.storage, shard):
            if isinstance(found, Loss):
                problem, counts = told(shard.path, found)
                yield problem
                yield counts
                continue
            place, head = found
            held.append(place)
            splits.append(shard.split or self._split(shard, place, head))
            if len(held) >= _PLACES_AT_ONCE:
                yield _rows(number, held, splits)
                held, splits = [], []
        if held:
            yield _rows(number, held, splits)

    def _split(self, shard: Shard, place: Place, head: bytes) -> str:
        key = key_at_front(head)
        if key is None:
            (content,) = contents_at(self.storage, shard.path, [place])
            key = _key(content)
        # Without one it is a problem, which is told when the record is read for its frames.
        return TRAIN if key is None else self.division.split_of(key)


def _key(content: bytes | Loss) -> str | None:
    if isinstance(content, Loss):
        return None
    try:
        return key_of(content)
    except DataError:
        return None


def _rows(shard: int, places: Sequence[Place], splits: list[str]) -> spark.Rows:
    table = np.array([(shard, place.number, place.start, place.length) for place in places], np.int64)
    return spark.Rows(dict(zip(_TRAVELLING.names, table.T, strict=True)), splits)


def fetched(storage: Storage, paths: tuple[str, ...], form: Form) -> spark.Finish:
    """The last step: places become videos. paths: of the shards, by their numbers."""
    return spark.Finish(_TRAVELLING, _Fetch(storage, paths, form), _ROWS_AT_ONCE)


@dataclass(frozen=True)
class _Fetch:
    """Reads records and makes videos of them."""

    storage: Storage
    paths: tuple[str, ...]
    form: Form

    def __call__(self, rows: Mapping[str, Decoded]) -> spark.Finished:
        shards, *columns = (np.asarray(rows[name]).tolist() for name in _TRAVELLING.names)
        places = [Place(*values) for values in zip(*columns, strict=True)]
        of_shard: dict[int, list[int]] = defaultdict(list)
        for row in sorted(range(len(places)), key=lambda row: places[row].start):
            of_shard[shards[row]].append(row)
        found: dict[int, Example | Loss] = {}
        for some, videos in zip(of_shard.values(), self._read(of_shard, places), strict=True):
            found.update(zip(some, videos, strict=True))
        good = [video for _, video in sorted(found.items()) if isinstance(video, Example)]
        problems, counts = {}, Counter({CUT: cut_of(good)})
        for row, loss in found.items():
            if isinstance(loss, Loss):
                problems[row], lost = told(self.paths[shards[row]], loss)
                counts.update(lost)
        return spark.Finished(values_of(good, self.form), problems, counts)

    def _read(self, of_shard: Mapping[int, list[int]], places: Sequence[Place]) -> list[list[Example | Loss]]:
        """The videos of the rows of each shard."""
        wanted = [(self.paths[shard], [places[row] for row in some]) for shard, some in of_shard.items()]
        if self.storage.is_local:
            return [self._videos(*one) for one in wanted]
        with ThreadPoolExecutor(_REQUESTS, "records") as pool:
            return list(pool.map(lambda one: self._videos(*one), wanted))

    def _videos(self, path: str, places: Sequence[Place]) -> list[Example | Loss]:
        contents = contents_at(self.storage, path, places)
        return [video_of(content, place, self.form) for content, place in zip(contents, places, strict=True)]
