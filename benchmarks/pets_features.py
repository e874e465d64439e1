"""Photographs per second from JPEG files to features, beside the forward pass of the same network alone.

    python benchmarks/pets_features.py [--model vgg16] [--source FOLDER] [--cores 2] [--images 256] [--rounds 3]

Ours is all of `echelon pets prepare` in a warm session of Spark: list and read the files, send them through Spark's
shuffle, decode, stretch, compute, compress and write. The other side only computes: the same network with the same
weights in the same layout, precision and batches, on pixels that are in memory and with memory that is kept between
batches (echelon.allocation), by one process with a thread on each core, or by a process for each core, whichever is
faster. Claim: at least 0.85 of it. The same is told by CPU time, in which Spark's Java and Python count as well, and
which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from measured import Outcome, in_turn, told
from PIL import Image
from processes import used
from safetensors.torch import save_file

from echelon.allocation import kept_memory
from echelon.recipes.pets.networks.choice import NETWORKS, network_of, random_weights
from echelon.recipes.pets.options import PrepareOptions
from echelon.recipes.pets.prepare import prepare
from echelon.spark.session import session
from echelon.world import threads

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WIDTH, HEIGHT, BREEDS, CLAIM = 500, 375, 8, 0.85
Rates = tuple[float, float]
"""Photographs a second of the clock, and a second of CPU."""


def photograph(random: np.random.Generator) -> bytes:
    """A JPEG of the usual size of the Oxford-IIIT Pet dataset: about 100 kB."""
    smooth = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    texture = random.normal(0, 18, (HEIGHT, WIDTH, 1)) + random.normal(0, 4, (HEIGHT, WIDTH, 3))
    file = io.BytesIO()
    whole = (np.asarray(smooth, dtype=np.int16) + texture.astype(np.int16)).clip(0, 255).astype(np.uint8)
    Image.fromarray(whole).save(file, format="JPEG", quality=90)
    return file.getvalue()


def write_photographs(folder: Path, source: Path | None, count: int) -> None:
    """So many files called Breed_N.jpg, made ones or those of a folder, repeated."""
    random = np.random.default_rng(0)
    if source is None:
        some = [photograph(random) for _ in range(64)]
    else:
        some = [path.read_bytes() for path in sorted(source.glob("*.jpg"))]
    folder.mkdir()
    for number in range(count):
        (folder / f"Breed_{number % BREEDS}_{number}.jpg").write_bytes(some[number % len(some)])


def alone(model: str, precision: str, batch_size: int, images: int, cores: int) -> Rates:
    """The forward pass in this process, over and over on a few batches."""
    side = NETWORKS[model].side
    random = np.random.default_rng(0)
    batches = [torch.from_numpy(random.integers(0, 256, (batch_size, 3, side, side), np.uint8)) for _ in range(4)]
    network = network_of(model, random_weights(model), precision)
    with threads(cores), kept_memory(), torch.inference_mode():
        network(batches[0])
        start, before = time.perf_counter(), time.process_time()
        done = 0
        while done < images:
            network(batches[done // batch_size % len(batches)])
            done += batch_size
        return done / (time.perf_counter() - start), done / (time.process_time() - before)


def _apart(arguments: tuple[str, str, int, int, int]) -> Rates:
    return alone(*arguments)


def together(model: str, precision: str, batch_size: int, images: int, cores: int) -> Rates:
    """A process of one thread for each core, at the same time: their sum of the clock, their mean of CPU."""
    work = (model, precision, batch_size, -(-images // cores), 1)
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        clock, cpu = zip(*pool.map(_apart, [work] * cores, chunksize=1), strict=True)
    return sum(clock), statistics.fmean(cpu)


def prepared(spark: SparkSession, folder: Path, options: PrepareOptions, images: int) -> Rates:
    """All of prepare."""
    with tempfile.TemporaryDirectory() as home:
        start, before = time.perf_counter(), used()
        dataset = prepare(spark, str(folder), str(Path(home) / "dataset"), options)
        seconds, cpu = time.perf_counter() - start, used() - before
    if dataset.rows("all") != images:
        raise RuntimeError(f"{dataset.rows('all')} of {images} images became rows: {dataset.info['problems']}")
    return images / seconds, images / cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(NETWORKS), default="vgg16")
    parser.add_argument("--source", type=Path, help="a folder of real JPEGs (default: made ones)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--images", type=int, default=256, help="how many; those of --source are repeated")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    spark = session(f"local[{asked.cores},8]", workers=asked.cores, gang=False)
    with tempfile.TemporaryDirectory() as home:
        folder, few, weights = Path(home) / "images", Path(home) / "few", Path(home) / "weights.safetensors"
        body = network_of(asked.model, random_weights(asked.model)).body
        save_file({name: tensor.contiguous() for name, tensor in body.state_dict().items()}, weights)
        options = PrepareOptions(model=asked.model, weights=str(weights), precision=asked.precision)
        bare = asked.model, asked.precision, options.batch_size, asked.images, asked.cores
        write_photographs(folder, asked.source, asked.images)
        write_photographs(few, asked.source, 32 * asked.cores)
        prepared(spark, few, options, 32 * asked.cores)
        sides = (
            lambda: prepared(spark, folder, options, asked.images),
            lambda: alone(*bare),
            lambda: together(*bare),
        )
        rounds = in_turn(sides, asked.rounds)
    spark.stop()
    ours, one, many = (statistics.median(clock for clock, _ in side) for side in zip(*rounds, strict=True))
    ratio = statistics.median(a / max(b, c) for (a, _), (b, _), (c, _) in rounds)
    of_cpu = statistics.median(a / max(b, c) for (_, a), (_, b), (_, c) in rounds)
    return told(
        f"{asked.images} JPEGs to features of {asked.model} in {asked.precision} on {asked.cores} cores, medians of "
        f"{asked.rounds} rounds",
        [
            Outcome("prepare: images/s", ours),
            Outcome(f"forward pass, one process of {asked.cores} threads: images/s", one),
            Outcome(f"forward pass, {asked.cores} processes of one thread: images/s", many),
            Outcome("prepare beside the faster of these", ratio, CLAIM, rest=", ".join(
                f"{a:.1f}/{max(b, c):.1f}" for (a, _), (b, _), (c, _) in rounds)),
            Outcome("the same by CPU time of all processes", of_cpu, rest="depends less on what else the machine does"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
