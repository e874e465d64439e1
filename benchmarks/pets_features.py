"""Photographs per second from JPEG files to features, beside the forward pass of the same network alone.

    python benchmarks/pets_features.py [--model vgg16] [--source FOLDER] [--cores 2] [--images 512] [--rounds 3]

Ours is all of `echelon pets prepare` in a warm session of Spark: list the files, shuffle, read, decode, stretch,
compute, compress and write. The other side only computes: the same network with the same weights in the same layout,
precision and batches, on pixels that are in memory, with their channels last as the network wants them, and with
memory that is kept between batches (echelon.allocation), by one process with a thread on each core, or by a process
for each core, whichever is faster. Claim: at least 0.85 of it.

A third side decodes as well, on as many processes, and does nothing else: what prepare could reach at most. The ratios
to both are told by the clock and by CPU time, in which Spark's Java and Python count as well, and which depends less on
what else the machine does. What a prepare costs once, such as starting its tasks, and reading and writing half a
gigabyte of weights of VGG16, counts in full, so that more images give a higher ratio (the whole Oxford-IIIT Pet
dataset has 7,349). The other sides cost nothing once, and no more than some hundred images are needed for their rate.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from measured import Outcome, in_turn, told
from PIL import Image
from processes import used
from safetensors.torch import save_file

from echelon.allocation import kept_memory
from echelon.recipes.pets.extract import extract
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


@dataclass(frozen=True)
class Work:
    """What each side does. photographs: the folder of them; None for pixels that are in memory."""

    options: PrepareOptions
    images: int
    photographs: Path | None = None


def alone(work: Work, cores: int) -> Rates:
    """Forward passes in this process, over and over on a few batches; with photographs they are decoded, too."""
    options, side = work.options, NETWORKS[work.options.model].side
    random = np.random.default_rng(0)
    batches = [
        torch.from_numpy(random.integers(0, 256, (options.batch_size, side, side, 3), np.uint8)).permute(0, 3, 1, 2)
        for _ in range(4)
    ]
    contents = [file.read_bytes() for file in sorted(work.photographs.iterdir())[:64]] if work.photographs else []
    network = network_of(options.model, random_weights(options.model), options.precision, options.mirror)
    with threads(cores), kept_memory(), torch.inference_mode():
        network(batches[0])
        start, before = time.perf_counter(), time.process_time()
        done = 0
        while done < work.images:
            if contents:
                some = [contents[number % len(contents)] for number in range(done, done + options.batch_size)]
                extract(network, some, convert=False, batch_size=options.batch_size)
            else:
                network(batches[done // options.batch_size % len(batches)])
            done += options.batch_size
        return done / (time.perf_counter() - start), done / (time.process_time() - before)


def together(work: Work, cores: int) -> Rates:
    """A process of one thread for each core, at the same time: their sum of the clock, their mean of CPU."""
    each = replace(work, images=-(-work.images // cores))
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        clock, cpu = zip(*pool.starmap(alone, [(each, 1)] * cores, chunksize=1), strict=True)
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
    parser.add_argument("--images", type=int, default=512, help="how many; those of --source are repeated")
    parser.add_argument("--alone", type=int, default=512, help="most images of the sides without Spark")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mirror", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    spark = session(f"local[{asked.cores},8]", workers=asked.cores, gang=False)
    with tempfile.TemporaryDirectory() as home:
        folder, few, weights = Path(home) / "images", Path(home) / "few", Path(home) / "weights.safetensors"
        body = network_of(asked.model, random_weights(asked.model)).body
        save_file({name: tensor.contiguous() for name, tensor in body.state_dict().items()}, weights)
        options = PrepareOptions(
            model=asked.model, weights=str(weights), precision=asked.precision, mirror=asked.mirror
        )
        write_photographs(folder, asked.source, asked.images)
        write_photographs(few, asked.source, 32 * asked.cores)
        prepared(spark, few, options, 32 * asked.cores)
        work = Work(options, min(asked.images, asked.alone))
        sides = (
            lambda: prepared(spark, folder, options, asked.images),
            lambda: alone(work, asked.cores),
            lambda: together(work, asked.cores),
            lambda: together(replace(work, photographs=folder), asked.cores),
        )
        rounds = in_turn(sides, asked.rounds)
    spark.stop()
    return told(
        f"{asked.images} JPEGs to features of {asked.model} in {asked.precision} on {asked.cores} cores, "
        f"{'with' if asked.mirror else 'without'} their mirror images, medians of {asked.rounds} rounds",
        list(outcomes(rounds, asked.cores)),
    )


def outcomes(rounds: list[tuple[Rates, ...]], cores: int) -> Iterator[Outcome]:
    """What the rounds come to. rounds: of prepare, of one process, of many, and of many that decode too."""
    many = f"{cores} processes of one thread"
    names = ("prepare", f"forward pass, one process of {cores} threads", f"forward pass, {many}",
             f"decoding and forward pass, {many}")  # fmt: skip
    for name, side in zip(names, zip(*rounds, strict=True), strict=True):
        yield Outcome(f"{name}: images/s", statistics.median(clock for clock, _ in side))
    for unit, name, limit in ((0, "prepare beside the faster forward pass", CLAIM), (1, "the same by CPU time", None)):
        sides = [(ours[unit], max(one[unit], many[unit]), both[unit]) for ours, one, many, both in rounds]
        rest = ", ".join(f"{ours:.1f}/{bare:.1f}" for ours, bare, _ in sides)
        yield Outcome(name, statistics.median(ours / bare for ours, bare, _ in sides), limit, rest=rest)
        yield Outcome("  prepare beside decoding and forward pass", statistics.median(o / both for o, _, both in sides))
        yield Outcome("  what decoding leaves of it at most", statistics.median(both / bare for _, bare, both in sides))


if __name__ == "__main__":
    sys.exit(main())
