"""Shuffled lane batches beside a bare sequential read of the same files, each on one reading thread.

The bare read decodes one row group after another and copies it into tensors once: the limit of any loader that hands
out tensors of its own. Claim: the loader reaches at least half of it once its memory is in use. Every epoch reads all
row groups, from the system's page cache. In a first epoch the loader verifies the pages' checksums and gets its memory
from the system; the bare read beside it verifies them too. In later epochs neither does.

The claim is judged by CPU time of all threads, which depends less on what else the machine does than the clock.

Usage: python benchmarks/loading.py [--mb 800] [--rounds 5] [--compression zstd]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measured import Outcome, told

from echelon.data.cells import decode
from echelon.data.loader import Loader, Position
from echelon.data.manifest import Dataset
from echelon.data.parts import open_part
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset

BATCH, LANES, CLAIM = 128, 64, 0.5
CHUNK = 2000


def features(rows: int) -> Iterator[dict]:
    """Rows of 4 kB that do not compress."""
    random = np.random.default_rng(0)
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        yield {"x": random.standard_normal((count, 1024), dtype=np.float32), "label": np.arange(count)}


def images(rows: int) -> Iterator[dict]:
    """Rows of 3 kB like photographs: smooth, with noise."""
    random = np.random.default_rng(0)
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        smooth = random.integers(0, 240, (count, 3, 8, 8), dtype=np.uint8).repeat(4, axis=2).repeat(4, axis=3)
        noise = random.integers(0, 16, smooth.shape, dtype=np.uint8)
        yield {"x": smooth + noise, "label": np.arange(count)}


def bare(dataset: Dataset, verify: bool) -> int:
    """Rows read by decoding each row group and copying it into tensors."""
    rows = 0
    for file in dataset.manifest.files("train"):
        with open_part(dataset, file, verify) as part:
            for group in range(len(file.row_groups)):
                values = decode(dataset.schema, part.read([group], dataset.schema.names))
                tensors = [torch.from_numpy(np.array(values[name])) for name in dataset.schema.names]
                rows += len(tensors[0])
    return rows


def lane_batches(loader: Loader, epoch: int) -> int:
    """Rows read in one epoch of shuffled batches."""
    return sum(len(batch) for _, batch in loader.batches(Position(epoch, 0), epoch + 1) if batch is not None)


def forget(loader: Loader, dataset: Dataset) -> None:
    """Make the next epoch read all row groups; what the loader holds decoded would be spared otherwise."""
    arena = loader._reader._arena
    for group in range(sum(len(file.row_groups) for file in dataset.manifest.files("train"))):
        if group in arena:
            arena.evict(group)


def rate(dataset: Dataset, read: Callable[[], int]) -> tuple[float, float]:
    """MB of decoded values per second of the clock, and per second of CPU time."""
    clock, cpu = time.perf_counter(), time.process_time()
    rows = read()
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    assert rows == dataset.rows("train")
    megabytes = rows * sum(column.cell_bytes for column in dataset.schema.columns) / 1e6
    return megabytes / clock, megabytes / cpu


def compare(name: str, dataset: Dataset, rounds: int) -> list[Outcome]:
    """The medians of both sides, taken in turn; the ratio by CPU time in later epochs is what counts."""
    first, later = [], []
    for _ in range(rounds):
        loader = Loader(
            dataset, "train", batch_size=BATCH, lanes=LANES, seed=0, share=range(LANES), cache_mb=0, prefetch=16
        )  # fmt: skip
        for epoch, rates in enumerate((first, later)):
            limit = rate(dataset, partial(bare, dataset, epoch == 0))
            rates.append((limit, rate(dataset, partial(lane_batches, loader, epoch))))
            forget(loader, dataset)
    return [
        line(f"{name}, first epoch: lane batches / bare read, MB/s of CPU time", first, None),
        line(f"{name}, later epochs: lane batches / bare read, MB/s of CPU time", later, CLAIM),
    ]


def line(what: str, rates: list[tuple[tuple[float, float], tuple[float, float]]], limit: float | None) -> Outcome:
    """rates: (by the clock, by CPU time) of the bare read and of the loader, in each round."""
    (bare_clock, bare_cpu), (ours_clock, ours_cpu) = np.median(rates, axis=0)
    by_clock, by_cpu = np.median([np.divide(ours, bare) for bare, ours in rates], axis=0)
    clock = f"by the clock {by_clock:.2f}: {ours_clock:,.0f} and {bare_clock:,.0f}"
    rest = f"{ours_cpu:,.0f} and {bare_cpu:,.0f} MB/s; {clock}"
    return Outcome(what, float(by_cpu), limit, rest=rest)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--mb", type=int, default=800, help="size of each dataset")
    options.add_argument("--rounds", type=int, default=5, help="times that each side is measured")
    options.add_argument("--compression", default="zstd", help="codec of the files, or none")
    given = options.parse_args()
    torch.set_num_threads(1)
    kinds = {
        "float32": (features, Column("x", "float32", (1024,))),
        "uint8": (images, Column("x", "uint8", (3, 32, 32))),
    }
    outcomes: list[Outcome] = []
    for name, (rows_of, column) in kinds.items():
        rows = given.mb * 10**6 // column.cell_bytes
        with tempfile.TemporaryDirectory() as folder:
            schema = Schema((column, Column("label", "int64")))
            url = str(Path(folder) / "dataset")
            splits = {"train": rows_of(rows)}
            dataset = write_dataset(url, schema, splits, shuffle_seed=None, compression=given.compression)
            outcomes += compare(name, dataset, given.rounds)
    return told("Loading shuffled batches beside a bare read of the same files, one reading thread", outcomes)


if __name__ == "__main__":
    sys.exit(main())
