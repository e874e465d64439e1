"""Megabytes of frames a second from TFRecord files to a dataset, beside one process without Spark and without shuffle.

    python benchmarks/video_prepare.py [--cores 2] [--megabytes 3000] [--rounds 3]

Ours is all of `echelon video prepare` in a warm session of Spark: look into the files, find the records, shuffle
globally, check, decode, count labels and lengths, compress and write. The other side checks, decodes, compresses and
writes the same records in their order, by the same functions, in one process; it is multiplied by the cores that ours
has. Claim: at least 0.8 of that, by the CPU time of all processes, in which Spark's Java counts too. The ratio by the
clock is told beside it. A prepare of any size costs about two seconds of CPU that this one process does not have.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measured import Outcome, in_turn, told
from processes import used

from echelon.data.cells import encode
from echelon.data.storage import open_storage
from echelon.data.write import PartWriter
from echelon.recipes.video.columns import AUDIO, FRAME, RGB, SIZES, schema_of
from echelon.recipes.video.examples import Example, Form
from echelon.recipes.video.made import Video, made_key, to_record, write_tfrecord
from echelon.recipes.video.options import PrepareOptions
from echelon.recipes.video.prepare import prepare
from echelon.recipes.video.rows import values_of, video_of
from echelon.recipes.video.shards import contents
from echelon.recipes.video.sources import find_shards
from echelon.recipes.video.tfrecord import Loss
from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILES, AT_ONCE, CLAIM = 16, 64, 0.8


def write(folder: Path, megabytes: int) -> None:
    """Files of videos of 120 to 300 frames, with numbers distributed as those of real frames are, nearly. Their frames
    repeat after 64 videos, which no side makes use of.
    """
    random = np.random.default_rng(0)
    drawn = [
        [random.normal(128, 35, (length, SIZES[name])).clip(0, 255).astype(np.uint8) for name in (RGB, AUDIO)]
        for length in random.integers(120, 301, 64).tolist()
    ]
    count = max(FILES, megabytes * 10**6 // (210 * (SIZES[RGB] + SIZES[AUDIO])))

    def record(number: int) -> bytes:
        rgb, audio = drawn[number % len(drawn)]
        return to_record(Video(made_key(number), [number % 100], rgb, audio))

    for file in range(FILES):
        write_tfrecord(folder / f"train{file:04d}.tfrecord", map(record, range(file, count, FILES)))


def alone(source: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    form, schema = Form(FRAME), schema_of(FRAME)
    start, before = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        storage, shards = find_shards(str(source), PrepareOptions())
        for part, shard in enumerate(shards):
            writer = PartWriter(open_storage(folder), "train", schema, part)
            held: list[Example] = []
            for found in contents(storage, shard):
                assert not isinstance(found, Loss), str(found)
                video = video_of(found[1], found[0], form)
                assert not isinstance(video, Loss), str(video)
                held.append(video)
                if len(held) == AT_ONCE:
                    writer.write(encode(schema, values_of(held, form)))
                    held = []
            if held:
                writer.write(encode(schema, values_of(held, form)))
            writer.close()
        return time.perf_counter() - start, time.process_time() - before


def prepared(spark: SparkSession, source: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        start, before = time.perf_counter(), used()
        dataset = prepare(spark, str(source), str(Path(folder) / "dataset"), PrepareOptions(test_fraction=0))
        taken = time.perf_counter() - start, used() - before
    if dataset.info["problems"]["count"]:
        raise RuntimeError(f"good records were left out: {dataset.info['problems']}")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=3000, help="less tells more of what starting tasks costs")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores = arguments.cores
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        write(source, arguments.megabytes)
        megabytes = sum(path.stat().st_size for path in source.iterdir()) / 1e6
        spark = session(f"local[{cores},8]", workers=cores, gang=False)
        for _ in range(2):
            prepared(spark, source)
        rounds = in_turn([lambda: prepared(spark, source), lambda: alone(source)], arguments.rounds)
        spark.stop()
    by_clock = statistics.median(b / (a * cores) for (a, _), (b, _) in rounds)
    by_cpu = statistics.median(b / a for (_, a), (_, b) in rounds)
    (clock, cpu), (clock_alone, cpu_alone) = (
        tuple(statistics.median(one[part] for one in side) for part in (0, 1)) for side in zip(*rounds, strict=True)
    )
    return told(
        f"{megabytes:.0f} MB of frames on {cores} cores, medians of {arguments.rounds} rounds",
        [
            Outcome("prepare: MB/s", megabytes / clock, rest=f"{megabytes / cpu:.0f} MB a second of CPU"),
            Outcome(
                "one process, no shuffle: MB/s",
                megabytes / clock_alone,
                rest=f"{megabytes / cpu_alone:.0f} MB a second of CPU",
            ),
            Outcome("prepare / one process x cores, by CPU time", by_cpu, CLAIM),
            Outcome("the same by the clock", by_clock, rest="says little where other work has the cores"),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
