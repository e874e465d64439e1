"""What is in TFRecord files of videos, read in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from echelon.data.storage import Storage
from echelon.errors import DataError
from echelon.recipes.video.columns import FRAME, PICTURE, Level
from echelon.recipes.video.examples import Form, level_of
from echelon.recipes.video.rows import video_of
from echelon.recipes.video.shards import contents
from echelon.recipes.video.sources import Shard
from echelon.recipes.video.tfrecord import Loss

_ALL_FRAMES = 1 << 40
_LOSSES_KEPT = 20


@dataclass
class Survey:
    """What is in a file, or in several.

    videos: how many are good. labels: videos of each label. labels_each, frames_each: videos by how many they have.
    lost: how many records are not good; the first of them are in `losses`. lost_bytes: of these.
    """

    path: str
    size: int
    level: Level | None = None
    videos: int = 0
    labels: Counter[int] = field(default_factory=Counter)
    labels_each: Counter[int] = field(default_factory=Counter)
    frames_each: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    lost_bytes: int = 0
    losses: list[str] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Adds what is in another file."""
        self.size += other.size
        self.videos += other.videos
        self.labels += other.labels
        self.labels_each += other.labels_each
        self.frames_each += other.frames_each
        self.lost += other.lost
        self.lost_bytes += other.lost_bytes
        self.losses = (self.losses + other.losses)[:_LOSSES_KEPT]

    def lose(self, loss: Loss) -> None:
        self.lost += 1
        self.lost_bytes += loss.size
        if len(self.losses) < _LOSSES_KEPT:
            self.losses.append(f"{self.path}: {loss}")


def surveyed(storage: Storage, shard: Shard, *, audio: bool = True) -> Survey:
    """What is in a file. audio: whether a record without sound features is no good one.

    Raises:
        StorageError: it cannot be read at present.
    """
    found = Survey(shard.path, shard.size)
    for record in contents(storage, shard):
        if isinstance(record, Loss):
            found.lose(record)
            continue
        place, content = record
        try:
            found.level = found.level or level_of(content)
        except DataError as error:
            found.lose(Loss(place.number, place.start, place.end - place.start, str(error)))
            continue
        video = video_of(content, place, Form(found.level, audio, _ALL_FRAMES))
        if isinstance(video, Loss):
            found.lose(video)
            continue
        found.videos += 1
        found.labels.update(video.labels.tolist())
        found.labels_each[len(video.labels)] += 1
        if found.level == FRAME:
            found.frames_each[len(video.features[PICTURE[FRAME]])] += 1
    return found


def total(surveys: Iterable[Survey]) -> Survey:
    """What is in all of them."""
    whole = Survey("all", 0)
    for survey in surveys:
        whole.add(survey)
    return whole
