"""Records of YouTube-8M read from TFRecord files, beside the package `tfrecord` and beside framing alone.

    python benchmarks/video_records.py [--source FOLDER] [--rounds 5] [--frames 300] [--megabytes 60]

Every side reads the same files, warm, in one thread, and ends with the features of each record as contiguous arrays.
Ours checks both checksums of every record and everything that `prepare` checks; the package `tfrecord` checks no
checksum; framing alone reads lengths and contents, and neither checks nor decodes. `protobuf` is our fallback for
unusual records, with checksums. Made files unless a folder of real ones is given.

Claim: frames at least twice as fast as the package `tfrecord`. Of means, small records in which most of the time goes
into Python on either side, the ratio is only told. Medians of the CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measured import Outcome, in_turn, told

from echelon.data.storage import open_storage
from echelon.recipes.video.columns import AUDIO, FRAME, MEAN_AUDIO, MEAN_RGB, RGB, SIZES, VIDEO, Level
from echelon.recipes.video.examples import Form, fields_of, read_by_protobuf
from echelon.recipes.video.made import Means, Video, to_record, write_tfrecord
from echelon.recipes.video.rows import video_of
from echelon.recipes.video.shards import contents
from echelon.recipes.video.sources import Shard
from echelon.recipes.video.tfrecord import Loss
from echelon.recipes.video.wire import Fields

CLAIMS = {FRAME: 2.0, VIDEO: None}
Read = Callable[[Path, Level], int]


def ours(path: Path, level: Level) -> int:
    count = 0
    for found in contents(open_storage(path.parent), Shard(path.name, path.stat().st_size, None)):
        if isinstance(found, Loss):
            raise RuntimeError(str(found))
        video = video_of(found[1], found[0], Form(level))
        if isinstance(video, Loss):
            raise RuntimeError(str(video))
        for array in video.features.values():
            np.ascontiguousarray(array)
        count += 1
    return count


def fallback(path: Path, level: Level) -> int:
    return _fields(path, read_by_protobuf)


def _fields(path: Path, read: Callable[[bytes], Fields]) -> int:
    count = 0
    for found in contents(open_storage(path.parent), Shard(path.name, path.stat().st_size, None)):
        assert not isinstance(found, Loss), str(found)
        for array in read(found[1]).features.values():
            np.ascontiguousarray(array)
        count += 1
    return count


def package(path: Path, level: Level) -> int:
    """By the package `tfrecord`, whose frames are joined to one array as ours are."""
    from tfrecord.reader import sequence_loader, tfrecord_loader

    count = 0
    described = {"id": "byte", "labels": "int"}
    if level == FRAME:
        for _, lists in sequence_loader(str(path), None, described, {RGB: "byte", AUDIO: "byte"}):
            for name in (RGB, AUDIO):
                np.frombuffer(b"".join(lists[name]), np.uint8).reshape(-1, SIZES[name])
            count += 1
        return count
    for _ in tfrecord_loader(str(path), None, {**described, MEAN_RGB: "float", MEAN_AUDIO: "float"}):
        count += 1
    return count


def framing(path: Path, level: Level) -> int:
    count = 0
    with path.open("rb") as file:
        while head := file.read(12):
            file.read(struct.unpack_from("<Q", head)[0] + 4)
            count += 1
    return count


def rates(read: Read, paths: list[Path], level: Level) -> tuple[int, float]:
    """Records, and seconds of CPU time."""
    before = time.process_time()
    return sum(read(path, level) for path in paths), time.process_time() - before


def made(folder: Path, level: Level, frames: int, megabytes: int) -> list[Path]:
    """One file of full videos, or of means."""
    random = np.random.default_rng(0)

    def videos() -> Iterator[Video | Means]:
        each = frames * (SIZES[RGB] + SIZES[AUDIO]) if level == FRAME else 4 * (SIZES[MEAN_RGB] + SIZES[MEAN_AUDIO])
        for number in range(max(1, megabytes * 10**6 // each)):
            labels = sorted(set(random.integers(0, 3862, 3).tolist()))
            key = f"{number:06d}"
            if level == FRAME:
                rgb, audio = (random.integers(0, 256, (frames, SIZES[name]), np.uint8) for name in (RGB, AUDIO))
                yield Video(key, labels, rgb, audio)
            else:
                means = [random.normal(0, 1, SIZES[name]).astype(np.float32) for name in (MEAN_RGB, MEAN_AUDIO)]
                yield Means(key, labels, means[0], means[1])

    write_tfrecord(folder / f"{level}.tfrecord", map(to_record, videos()))
    return [folder / f"{level}.tfrecord"]


def measured(paths: list[Path], level: Level, rounds: int) -> list[Outcome]:
    sides: dict[str, Read] = {"framing alone": framing, "ours": ours, "protobuf, with checksums": fallback}
    try:
        import tfrecord  # noqa: F401

        sides["tfrecord"] = package
    except ImportError:
        pass
    found = in_turn([lambda read=read: rates(read, paths, level) for read in sides.values()], rounds)  # type: ignore[misc]
    if len({records for round_ in found for records, _ in round_}) != 1:
        raise RuntimeError(f"the sides read unlike numbers of records: {found[0]}")
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    seconds = {name: statistics.median(one[i][1] for one in found) for i, name in enumerate(sides)}
    records = found[0][0][0]
    what = "frames" if level == FRAME else "means"
    lines = [
        Outcome(f"{what}, {name}: MB/s", megabytes / taken, rest=f"{records / taken:,.0f} records/s")
        for name, taken in seconds.items()
    ]
    if "tfrecord" not in seconds:
        lines.append(Outcome(f"{what}: ours / tfrecord", None, CLAIMS[level], rest="pip install tfrecord"))
        return lines
    order = list(sides)
    ratio = statistics.median(one[order.index("tfrecord")][1] / one[order.index("ours")][1] for one in found)
    alone = seconds["framing alone"] / seconds["ours"]
    return [*lines, Outcome(f"{what}: ours / tfrecord", ratio, CLAIMS[level], rest=f"ours / framing alone {alone:.2f}")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder of real files, all of one level (default: made ones)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--megabytes", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        if arguments.source:
            paths = sorted(arguments.source.glob("*.tfrecord"))
            first = next(contents(open_storage(paths[0].parent), Shard(paths[0].name, paths[0].stat().st_size, None)))
            level = FRAME if not isinstance(first, Loss) and fields_of(first[1]).sequence else VIDEO
            outcomes = measured(paths, level, arguments.rounds)
        else:
            for level in (FRAME, VIDEO):
                paths = made(Path(folder), level, arguments.frames, arguments.megabytes)
                outcomes += measured(paths, level, arguments.rounds)
    return told(f"TFRecord files of videos, medians of {arguments.rounds} rounds", outcomes)


if __name__ == "__main__":
    sys.exit(main())
