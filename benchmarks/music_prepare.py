"""Seconds of music a second from mp3 files to a dataset, beside bare soundfile and soxr.

    python benchmarks/music_prepare.py [--cores 2] [--minutes 120] [--rounds 3] [--ending mp3]

The other side decodes each file in memory at once with soundfile, averages its channels and resamples with soxr, in one
process, and keeps nothing. Two things of ours are compared with it, both by CPU time. "Read" is what a task does with
its files, in one process: decode, average, resample, find the peak, scale, encode, cut into windows, in blocks. Claim:
at least 0.8. "Prepare" is all of `echelon music prepare` in a warm session of Spark: that, and list the files, shuffle
globally, count, compress and write, where Spark's Java counts too. Claim: at least 0.8, too; the ratio by the clock to
as many bare processes as cores is told beside it. The files are songs of four minutes in stereo at 44.1 kHz (mp3 of
about 128 kbit/s).
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from measured import Outcome, in_turn, told
from processes import used

from echelon.data.division import Division
from echelon.recipes.music.columns import Form
from echelon.recipes.music.listening import Wish
from echelon.recipes.music.made import made_song, write_song
from echelon.recipes.music.options import ENDINGS, PrepareOptions
from echelon.recipes.music.prepare import prepare
from echelon.recipes.music.reading import ReadSongs
from echelon.recipes.music.sources import find_songs
from echelon.spark.prepare import Problem, Rows
from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SONG_SECONDS, RATE, WISHED, DRAWN, CLAIM = 240.0, 44_100, 16_000, 4, 0.8


def write(folder: Path, minutes: int, ending: str) -> int:
    """How many songs there are. Some are drawn, with noise so that no encoder has it easy; the rest are copies."""
    for number in range(DRAWN):
        song = made_song(SONG_SECONDS, RATE, 2, number)
        song += np.random.default_rng(number).normal(0, 0.01, song.shape).astype(np.float32)
        write_song(folder / f"song{number:04d}.{ending}", song, RATE)
    count = max(DRAWN, round(minutes * 60 / SONG_SECONDS))
    for number in range(DRAWN, count):
        content = (folder / f"song{number % DRAWN:04d}.{ending}").read_bytes()
        (folder / f"song{number:04d}.{ending}").write_bytes(content)
    return count


def bare(source: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    contents = [path.read_bytes() for path in sorted(source.iterdir())]
    start, before = time.perf_counter(), time.process_time()
    for content in contents:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
        mono = (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
        assert len(soxr.resample(mono, rate, WISHED, quality="HQ"))
    return time.perf_counter() - start, time.process_time() - before


def read(source: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    found = find_songs(str(source), ENDINGS, Division(0, 0))
    work = ReadSongs(found.storage, Form(WISHED, PrepareOptions.window, PrepareOptions.context, True), Wish(WISHED), 0)
    start, before = time.perf_counter(), time.process_time()
    for item in found.items:
        kinds = {type(one) for one in work(item)}
        assert Rows in kinds
        assert Problem not in kinds
    return time.perf_counter() - start, time.process_time() - before


def prepared(spark: SparkSession, source: Path) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        options = PrepareOptions(rate=WISHED, test_fraction=0)
        start, before = time.perf_counter(), used()
        dataset = prepare(spark, str(source), str(Path(folder) / "dataset"), options)
        taken = time.perf_counter() - start, used() - before
    if dataset.info["problems"]["count"]:
        raise RuntimeError(f"good songs were left out: {dataset.info['problems']}")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=120, help="less tells more of what starting tasks costs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ending", default="mp3", help="the format of the songs, such as mp3, ogg or flac")
    arguments = parser.parse_args()
    cores = arguments.cores
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        songs = write(source, arguments.minutes, arguments.ending)
        spark = session(f"local[{cores},8]", workers=cores, gang=False)
        for _ in range(2):
            prepared(spark, source)
        sides = [lambda: prepared(spark, source), lambda: read(source), lambda: bare(source)]
        rounds = in_turn(sides, arguments.rounds)
        spark.stop()
    by_clock = statistics.median(alone / (whole * cores) for (whole, _), _, (alone, _) in rounds)
    whole_by_cpu = statistics.median(alone / whole for (_, whole), _, (_, alone) in rounds)
    read_by_cpu = statistics.median(alone / own for _, (_, own), (_, alone) in rounds)
    seconds = songs * SONG_SECONDS
    clocks, cpus = (
        [seconds / statistics.median(one[part] for one in side) for side in zip(*rounds, strict=True)]
        for part in (0, 1)
    )
    return told(
        f"{seconds / 60:.0f} minutes of {arguments.ending} on {cores} cores, medians of {arguments.rounds} rounds",
        [
            Outcome("prepare: x real time", clocks[0], rest=f"{cpus[0]:.0f} x by CPU time"),
            Outcome("read, one process: x real time", clocks[1], rest=f"{cpus[1]:.0f} x by CPU time"),
            Outcome("bare, one process: x real time", clocks[2], rest=f"{cpus[2]:.0f} x by CPU time"),
            Outcome("read / bare, by CPU time", read_by_cpu, CLAIM),
            Outcome("prepare / bare, by CPU time", whole_by_cpu, CLAIM),
            Outcome(
                "prepare / bare x cores, by the clock", by_clock, rest="says little where other work has the cores"
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
