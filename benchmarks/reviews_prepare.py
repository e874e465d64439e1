"""Reviews per second from JSON lines to a dataset, beside plain Python and beside polars; and its memory.

    python benchmarks/reviews_prepare.py [--source FILE.jsonl] [--cores 2] [--reviews 200000] [--rounds 3]
    python benchmarks/reviews_prepare.py --gigabytes 5 [--heap 1g] [--master spark://HOST:PORT]

Ours is all of `echelon reviews prepare` in a warm session of Spark: look at every line, clean, merge equal texts by the
rating that most gave, divide by product, count the words of the training part, encode, shuffle globally, write. The
others make the same rows, which is checked, in memory and without a shuffle, and write one Parquet file: plain Python
line by line in one process, polars with as many threads as ours has cores. Claims,
by CPU time of all processes, in which Spark's Java counts: no more than plain Python, and no more than four times that
of polars, which needs all reviews in memory at once.

With --gigabytes as much is made, and prepared in a session whose Java has --heap, or on a cluster of this machine with
executors of one core and that heap; then the largest resident memory of each kind of process is told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import Outcome, in_turn, told
from processes import Peaks, used

from echelon.data.division import Division
from echelon.data.manifest import Dataset
from echelon.data.span import span_batches
from echelon.recipes.reviews.made import made_reviews
from echelon.recipes.reviews.options import PrepareOptions
from echelon.recipes.reviews.prepare import prepare
from echelon.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAD, UNKNOWN, FIRST = 1, 2, 3
OPTIONS = PrepareOptions()
POOL = 4_000
OF_PYTHON, OF_POLARS = 1.0, 0.25
MOST_MB = {"java": 1536, "java of an executor": 1536, "python": 1024}
"""Limits of memory; Java needs some beside its heap."""


def made_lines(count: int, seed: int = 0) -> Iterator[str]:
    """Lines of Amazon's form of about 900 bytes, of remarks in ever new combinations; one of fifty repeats a text."""
    random = np.random.default_rng(seed)
    pool = [made.text for made in made_reviews(POOL, seed)]
    text = pool[0]
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        drawn, stars = random.integers(0, POOL, (size, 3)).tolist(), random.integers(1, 6, size).tolist()
        products, again = random.integers(0, 100_000, size).tolist(), (random.random(size) < 0.02).tolist()
        for (a, b, c), star, product, same in zip(drawn, stars, products, again, strict=True):
            text = text if same else f"{pool[a]} {pool[b]} {pool[c]}"
            yield f'{{"asin": "B{product:06d}", "reviewText": "{text}", "overall": {star}.0}}\n'


def checksum(rows: Iterator[tuple[str, bytes, int, str]]) -> int:
    """Of rows in any order: key, ids (uint16), label and split."""
    total = 0
    for key, ids, label, split in rows:
        row = f"{key} {label} {split} ".encode() + ids
        total += int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big")
    return total % 2**64


def of_dataset(dataset: Dataset) -> int:
    return checksum(
        (key, ids.tobytes(), label, split)
        for split in dataset.splits
        for batch in span_batches(dataset, split, ("key", "tokens", "label"), 0, dataset.rows(split), 4096)
        for key, ids, label in zip(batch.strings("key"), batch["tokens"].numpy(), batch["label"].tolist(), strict=True)
    )


def of_table(path: Path) -> int:
    table = pq.read_table(path, columns=["key", "tokens", "label", "split"])
    ids = (np.asarray(row, np.uint16).tobytes() for row in table["tokens"].to_pylist())
    columns = (table[name].to_pylist() for name in ("label", "split"))
    return checksum(zip(table["key"].to_pylist(), ids, *columns, strict=True))


def by_python(source: Path, out: Path) -> None:
    """All in memory, review by review."""
    words_of = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*").findall
    first: dict[str, tuple[str, str, str]] = {}
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    with open(source, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            value = json.loads(line)
            cleaned = " ".join(words_of(value["reviewText"].lower()))
            first.setdefault(cleaned, (f"{source.name}:{number}", value["asin"], value["reviewText"]))
            votes[cleaned][int(value["overall"])] += 1
    division = Division(OPTIONS.test_fraction, OPTIONS.split_seed)
    split = {product: division.split_of(f"product {product}") for product in {of[1] for of in first.values()}}
    counts: Counter[str] = Counter()
    for cleaned, (_, product, _) in first.items():
        if split[product] == "train":
            counts.update(cleaned.split(" ")[: OPTIONS.length])
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: OPTIONS.words]
    ids = {word: number for number, word in enumerate(frequent, FIRST)}
    rows = []
    for cleaned, (key, product, text) in first.items():
        row = [ids.get(word, UNKNOWN) for word in cleaned.split(" ")[: OPTIONS.length]]
        most = max(votes[cleaned].values())
        stars = min(star for star, number in votes[cleaned].items() if number == most)
        rows.append((key, row + [PAD] * (OPTIONS.length - len(row)), len(row), int(stars > 3), split[product], text))
    names = ("key", "tokens", "length", "label", "split", "text")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), out, compression="zstd")


def by_polars(source: Path, out: Path) -> None:
    """All in memory, column by column. Its threads are those of POLARS_MAX_THREADS."""
    import polars as pl

    lines = pl.read_ndjson(source, schema={"asin": pl.String, "reviewText": pl.String, "overall": pl.Float64})
    cleaned = pl.col("reviewText").str.to_lowercase().str.replace_all("[^a-z0-9']+", " ").str.strip_chars(" ")
    lines = lines.with_row_index("line", 1).with_columns(cleaned.alias("cleaned"))
    stars = [(pl.col("overall") == star).sum().alias(f"s{star}") for star in range(1, 6)]
    merged = lines.group_by("cleaned", maintain_order=True).agg(
        *(pl.col(name).first() for name in ("line", "asin", "reviewText")), *stars
    )
    votes = pl.concat_list(*(f"s{star}" for star in range(1, 6)))
    division = Division(OPTIONS.test_fraction, OPTIONS.split_seed)
    products = merged["asin"].unique()
    splits = pl.Series([division.split_of(f"product {product}") for product in products.to_list()])
    merged = merged.with_columns(
        (votes.list.arg_max() >= 3).cast(pl.Int64).alias("label"),
        pl.col("asin").replace_strict(products, splits).alias("split"),
        pl.col("cleaned").str.split(" ").list.head(OPTIONS.length).alias("words"),
    ).drop("cleaned")
    training = merged.filter(pl.col("split") == "train").select(pl.col("words").explode())
    counts = training.group_by("words").len().sort(["len", "words"], descending=[True, False]).head(OPTIONS.words)
    known = counts.select(pl.col("words"), pl.int_range(FIRST, FIRST + len(counts), dtype=pl.UInt16).alias("id"))
    flat = merged.select("line", "words").explode("words").join(known, on="words", how="left", maintain_order="left")
    ids = flat.group_by("line", maintain_order=True).agg(pl.col("id").fill_null(UNKNOWN))
    padded = pl.col("id").list.concat(pl.lit([PAD] * OPTIONS.length, pl.List(pl.UInt16))).list.head(OPTIONS.length)
    rows = (
        merged.drop("words")
        .join(ids, on="line", maintain_order="left")
        .select(
            pl.concat_str(pl.lit(f"{source.name}:"), pl.col("line").cast(pl.String)).alias("key"),
            padded.alias("tokens"),
            pl.col("id").list.len().alias("length"),
            "label",
            "split",
            pl.col("reviewText").alias("text"),
        )
    )
    rows.write_parquet(out, compression="zstd")


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of CPU in all processes, and MB of the side's own process where it has one."""

    clock: float
    cpu: float
    memory: float = 0


def apart(name: str, source: Path, out: Path, cores: int) -> Cost:
    """What a side costs in a process of its own, without its imports."""
    code = (
        f"import sys, time, resource; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from pathlib import Path; import reviews_prepare as here{', polars' if name == 'by_polars' else ''}\n"
        f"start, cpu = time.perf_counter(), time.process_time()\n"
        f"here.{name}(Path({str(source)!r}), Path({str(out)!r}))\n"
        "print(time.perf_counter() - start, time.process_time() - cpu)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    environment = {**os.environ, "POLARS_MAX_THREADS": str(cores)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(*map(float, done.stdout.split()))


def ours(spark: SparkSession, source: Path, folder: Path) -> tuple[Cost, Dataset]:
    start, cpu = time.perf_counter(), used()
    dataset = prepare(spark, str(source), str(folder / "dataset"), OPTIONS, overwrite=True)
    return Cost(time.perf_counter() - start, used() - cpu), dataset


def small_session(cores: int, heap: str, master: str | None) -> SparkSession:
    if master is None:
        return session(f"local[{cores},8]", workers=cores, conf={"spark.driver.memory": heap}, gang=False)
    conf = {"spark.driver.memory": heap, "spark.executor.memory": heap, "spark.executor.cores": "1",
            "spark.cores.max": str(cores)}  # fmt: skip
    return session(master, workers=cores, conf=conf, gang=False)


def large(gigabytes: float, cores: int, heap: str, master: str | None) -> int:
    """Prepares many reviews in little memory."""
    with tempfile.TemporaryDirectory() as folder:
        source, size, count = Path(folder) / "reviews.jsonl", 0, 0
        with open(source, "w", encoding="utf-8") as file:
            for line in chain.from_iterable(made_lines(100_000, seed) for seed in range(1 << 20)):
                if size >= gigabytes * 2**30:
                    break
                size, count = size + file.write(line), count + 1
        spark = small_session(cores, heap, master)
        with Peaks() as peaks:
            cost, dataset = ours(spark, source, Path(folder))
        spark.stop()
        info = dataset.info
        rows = sum(dataset.rows(split) for split in dataset.splits)
        if info["lines"] != count or rows + info["duplicates"] + info["empty"] != count:
            raise RuntimeError(f"of {count} reviews {rows} became rows: {info}")
    return told(
        f"{size / 2**30:.1f} GB, {count:,} reviews, {cores} {'cores' if master is None else 'executors'}, "
        f"Java's heap {heap}",
        [
            Outcome(
                "prepare: reviews/s", count / cost.clock, rest=f"{cost.clock:.0f} s, {info['duplicates']:,} merged"
            ),
            *(
                Outcome(f"peak memory of one process {kind}", peak, MOST_MB.get(kind), at_least=False, unit=" MB")
                for kind, peak in sorted(peaks.of_kind.items())
            ),
        ],
    )


def beside(given: Path | None, cores: int, reviews: int, rounds: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "reviews.jsonl"
        lines = open(given, encoding="utf-8") if given else made_lines(reviews)  # noqa: SIM115 (closed at the end)
        with open(source, "w", encoding="utf-8") as file:
            count = sum(bool(file.write(line)) for line in lines)
        spark = session(f"local[{cores},8]", workers=cores, gang=False)
        _, dataset = ours(spark, source, folder)
        sides = (
            lambda: ours(spark, source, folder)[0],
            lambda: apart("by_python", source, folder / "python.parquet", cores),
            lambda: apart("by_polars", source, folder / "polars.parquet", cores),
        )
        found = in_turn(sides, rounds)
        spark.stop()
        sums = {of_dataset(dataset), of_table(folder / "python.parquet"), of_table(folder / "polars.parquet")}
        if len(sums) != 1:
            raise RuntimeError(f"the sides do not give the same rows: {sums}")
    mine, python, polars = (statistics.median(count / side.clock for side in of) for of in zip(*found, strict=True))
    memory = [max(of[side].memory for of in found) for side in (1, 2)]
    by_cpu = [statistics.median(of[side].cpu / of[0].cpu for of in found) for side in (1, 2)]
    return told(
        f"{count:,} {'given' if given else 'made'} reviews on {cores} cores, medians of {rounds} rounds; the same rows",
        [
            Outcome("prepare: reviews/s", mine),
            Outcome("plain Python, one process: reviews/s", python, rest=f"{memory[0]:.0f} MB"),
            Outcome(f"polars, {cores} threads: reviews/s", polars, rest=f"{memory[1]:.0f} MB"),
            Outcome("prepare beside plain Python", mine / python),
            Outcome("prepare beside polars", mine / polars),
            Outcome("prepare beside plain Python by CPU time", by_cpu[0], OF_PYTHON),
            Outcome("prepare beside polars by CPU time", by_cpu[1], OF_POLARS),
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", type=Path, help="JSON lines in ASCII with asin, reviewText, overall (default: made)"
    )
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--reviews", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, help="make so much, and tell the memory that preparing it takes")
    parser.add_argument("--heap", default="1g", help="of Java, with --gigabytes")
    parser.add_argument("--master", help="of a standalone cluster whose hosts see this disk, with --gigabytes")
    given = parser.parse_args()
    if given.gigabytes:
        return large(given.gigabytes, given.cores, given.heap, given.master)
    return beside(given.source, given.cores, given.reviews, given.rounds)


if __name__ == "__main__":
    sys.exit(main())
