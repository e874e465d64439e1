"""Photographs per second from an archive of JPEGs to a dataset, beside Pillow alone.

    python benchmarks/jpeg_prepare.py [--source DATA.tar] [--cores 2] [--images 8000] [--rounds 3]

Ours is all of `echelon images prepare` in a warm session of Spark: find out what the archive holds, decode, resize to
256x256, shuffle globally, add up the mean, compress and write. The other side only decodes and resizes the same files
with the same filter, from memory, by one process; it is multiplied by the cores that ours has. Claim: at least 0.8 of
that. The rate of as many processes as there are cores, which share the machine's memory and clock, is told too, and
the ratio by CPU time, in which Spark's Java counts as well.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measured import Outcome, in_turn, told
from PIL import Image
from processes import used

from echelon.recipes.images.made import write_tar
from echelon.recipes.images.options import PrepareOptions
from echelon.recipes.images.prepare import prepare
from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WIDTH, HEIGHT, SIDE, CLAIM = 500, 375, 256, 0.8
CLASSES = 10


def photograph(random: np.random.Generator) -> bytes:
    """A JPEG as cameras' are: large smooth areas, edges, and fine texture; about 100 kB."""
    smooth = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    pixels = np.asarray(smooth, dtype=np.int16)
    texture = random.normal(0, 18, (HEIGHT, WIDTH, 1)) + random.normal(0, 4, (HEIGHT, WIDTH, 3))
    file = io.BytesIO()
    whole = (pixels + texture.astype(np.int16)).clip(0, 255).astype(np.uint8)
    Image.fromarray(whole).save(file, format="JPEG", quality=90)
    return file.getvalue()


def write_archive(path: Path, files: list[bytes]) -> None:
    write_tar(path, [(f"{number:06d}.JPEG", content) for number, content in enumerate(files)])
    labels = (f"{number:06d}.JPEG {number % CLASSES}\n" for number in range(len(files)))
    path.with_suffix(".txt").write_text("".join(labels))


def of_archive(path: Path) -> list[bytes]:
    with tarfile.open(path) as archive:
        return [archive.extractfile(member).read() for member in archive if member.isreg()]  # type: ignore[union-attr]


def alone(files: list[bytes]) -> tuple[float, float]:
    """Photographs that Pillow decodes and resizes in this process, a second of the clock and a second of CPU."""
    start, before = time.perf_counter(), time.process_time()
    for content in files:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (SIDE, SIDE))
            resized = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
            np.asarray(resized)
    return len(files) / (time.perf_counter() - start), len(files) / (time.process_time() - before)


def together(files: list[bytes], cores: int) -> tuple[float, float]:
    """The sum over processes at the same time, each with all files."""
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        clock, cpu = zip(*pool.map(alone, [files] * cores, chunksize=1), strict=True)
    return sum(clock), sum(cpu)


def prepared(spark: SparkSession, archive: Path, files: int) -> tuple[float, float]:
    """Photographs that become rows, a second of the clock and a second of CPU."""
    with tempfile.TemporaryDirectory() as folder:
        start, before = time.perf_counter(), used()
        options = PrepareOptions(size=f"{SIDE}x{SIDE}", test_fraction=0)
        dataset = prepare(spark, str(archive), str(Path(folder) / "dataset"), options)
        seconds, cpu = time.perf_counter() - start, used() - before
    if dataset.rows("train") != files or dataset.info["problems"]["count"]:
        raise RuntimeError(f"{dataset.rows('train')} of {files} images became rows: {dataset.info['problems']}")
    return files / seconds, files / cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a tar archive of real images (default: made ones)")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument(
        "--images", type=int, default=8000, help="how many; those of --source are repeated; of fewer, starts weigh more"
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    some = of_archive(arguments.source) if arguments.source else [photograph(random) for _ in range(200)]
    files = (some * -(-arguments.images // len(some)))[: arguments.images]
    cores = arguments.cores
    spark = session(f"local[{cores},8]", workers=cores, gang=False)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "sample.tar"
        write_archive(archive, files)
        prepared(spark, archive, len(files))
        part = files[: max(100, len(files) // 8)]
        sides = (
            lambda: prepared(spark, archive, len(files)),
            lambda: alone(part),
            lambda: together(part, cores),
        )
        rounds = in_turn(sides, arguments.rounds)
    spark.stop()
    ours, one, many = (statistics.median(clock for clock, _ in side) for side in zip(*rounds, strict=True))
    ratio = statistics.median(a / (b * cores) for (a, _), (b, _), _ in rounds)
    beside = statistics.median(a / c for (a, _), _, (c, _) in rounds)
    of_cpu = statistics.median(a / b for (_, a), (_, b), _ in rounds)
    mean = sum(map(len, files)) / len(files) / 1000
    return told(
        f"{len(files)} JPEGs of {mean:.0f} kB to {SIDE}x{SIDE} on {cores} cores, medians of {arguments.rounds} rounds",
        [
            Outcome("prepare: images/s", ours),
            Outcome("Pillow, one process: images/s", one, rest=f"times {cores}: {one * cores:.0f}"),
            Outcome(f"Pillow, {cores} processes at once: images/s", many, rest=f"ours is {beside:.2f} of it"),
            Outcome("prepare beside Pillow on one core x cores", ratio, CLAIM, rest=", ".join(
                f"{a:.0f}/{b * cores:.0f}" for (a, _), (b, _), _ in rounds)),
            Outcome("the same by CPU time of all processes", of_cpu, rest="depends less on what else the machine does"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
