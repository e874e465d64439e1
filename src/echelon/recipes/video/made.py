"""Small made sets in the public format of YouTube-8M, for tests and trials."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon.recipes.video.columns import AUDIO, MEAN_AUDIO, MEAN_RGB, RGB, SIZES, quantised
from echelon.recipes.video.proto import messages
from echelon.recipes.video.tfrecord import masked_crc

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Video:
    """A video by its frames. key: its id. labels: numbers of classes. rgb: uint8 [frames, 1024]. audio: uint8
    [frames, 128], or None where it was not published.
    """

    key: str
    labels: Sequence[int]
    rgb: NDArray[np.uint8]
    audio: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Means:
    """A video by the means of its frames. mean_rgb: float32 [1024]. mean_audio: float32 [128] or None."""

    key: str
    labels: Sequence[int]
    mean_rgb: NDArray[np.float32]
    mean_audio: NDArray[np.float32] | None


def made_means(count: int, classes: int, seed: int = 0, *, noise: float = 0.5) -> list[Means]:
    """Videos that a linear model can label: each class adds a pattern of its own, and smaller numbers are more common.

    Each has one to three labels below `classes`.
    """
    patterns = np.random.default_rng(1234)
    rgb, audio = (patterns.normal(0, 0.5, (classes, SIZES[name])) for name in (MEAN_RGB, MEAN_AUDIO))
    random = np.random.default_rng(seed)
    likely = 1 / np.arange(1, classes + 1)
    videos = []
    for number in range(count):
        some = min(classes, int(random.integers(1, 4)))
        labels = sorted(random.choice(classes, some, replace=False, p=likely / likely.sum()).tolist())
        means = [
            (pattern[labels].sum(0) + random.normal(0, noise, pattern.shape[1])).astype(np.float32)
            for pattern in (rgb, audio)
        ]
        videos.append(Means(made_key(number, seed), labels, means[0], means[1]))
    return videos


def made_videos(
    count: int, classes: int, seed: int = 0, *, frames: tuple[int, int] = (1, 12), noise: float = 0.5
) -> list[Video]:
    """As `made_means`, with frames around those means. frames: the fewest and the most."""
    random = np.random.default_rng([seed, 1])
    videos = []
    for video in made_means(count, classes, seed, noise=0.1):
        length = int(random.integers(frames[0], frames[1] + 1))
        rgb, audio = (
            quantised(mean + random.normal(0, noise, (length, len(mean))))
            for mean in (video.mean_rgb, np.asarray(video.mean_audio))
        )
        videos.append(Video(video.key, video.labels, rgb, audio))
    return videos


def made_ordered(count: int, seed: int = 0, *, frames: tuple[int, int] = (6, 12)) -> list[Video]:
    """Videos of label 0 or 1 that only the order of their sound tells apart: it rises or falls.

    A video of either label with its frames reversed could be one of the other, so no mean says anything.
    """
    random = np.random.default_rng([seed, 2])
    videos = []
    for number in range(count):
        length = int(random.integers(frames[0], frames[1] + 1))
        label = int(random.integers(2))
        steps = np.linspace(-1, 1, length)[:: -1 if label else 1]
        audio = steps[:, None] + random.normal(0, 0.1, (length, SIZES[AUDIO]))
        rgb = random.normal(0, 0.5, (length, SIZES[RGB]))
        videos.append(Video(made_key(number, seed), [label], quantised(rgb), quantised(audio)))
    return videos


def made_key(number: int, seed: int = 0) -> str:
    """An id of six letters and digits; another number or seed (below 238) has another."""
    letters = []
    rest = seed * len(_LETTERS) ** 4 + number
    for _ in range(6):
        rest, letter = divmod(rest, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "".join(reversed(letters))


def to_record(video: Video | Means) -> bytes:
    """A video as a SequenceExample, means as an Example; the same video always gives the same bytes."""
    if isinstance(video, Means):
        example = messages().example()
        _describe(example.features.feature, video)
        example.features.feature[MEAN_RGB].float_list.value.extend(video.mean_rgb.tolist())
        if video.mean_audio is not None:
            example.features.feature[MEAN_AUDIO].float_list.value.extend(video.mean_audio.tolist())
        return bytes(example.SerializeToString(deterministic=True))
    sequence = messages().sequence()
    _describe(sequence.context.feature, video)
    for name, frames in ((RGB, video.rgb), (AUDIO, video.audio)):
        if frames is not None:
            of_list = sequence.feature_lists.feature_list[name]
            for frame in frames:
                of_list.feature.add().bytes_list.value.append(frame.tobytes())
    return bytes(sequence.SerializeToString(deterministic=True))


def _describe(features: object, video: Video | Means) -> None:
    features["id"].bytes_list.value.append(video.key.encode())  # type: ignore[index]
    features["labels"].int64_list.value.extend(video.labels)  # type: ignore[index]


def write_tfrecord(path: Path, records: Iterable[bytes]) -> None:
    """A TFRecord file of records, without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            file.write(framed(record))


def framed(record: bytes) -> bytes:
    """A record as it stands in a file: its length and itself, each with its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, struct.pack("<I", masked_crc(length)), record, struct.pack("<I", masked_crc(record))))


def write_shards(folder: Path, videos: Sequence[Video] | Sequence[Means], shards: int, name: str = "train") -> None:
    """Videos dealt to files train0000.tfrecord …, as they are published."""
    for shard in range(shards):
        write_tfrecord(folder / f"{name}{shard:04d}.tfrecord", map(to_record, videos[shard::shards]))
