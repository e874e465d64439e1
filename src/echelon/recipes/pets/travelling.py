"""How images travel through the shuffle: as their files, which become features when they arrive.

So each part of the dataset is a piece of the work with the network that need not be done again after a kill, and any
number of cores shares it; a feature's own bytes would travel no cheaper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from echelon.allocation import kept_memory
from echelon.data.cells import Decoded
from echelon.data.schema import Column, Schema
from echelon.data.storage import Storage
from echelon.recipes.pets.columns import ALL, FEATURES, KEY, LABEL
from echelon.recipes.pets.extract import extract
from echelon.recipes.pets.json_rows import json_path, to_json
from echelon.recipes.pets.networks.extractor import Extractor
from echelon.recipes.pets.networks.network import Network
from echelon.recipes.pets.sources import Item
from echelon.spark.device import task_device
from echelon.spark.prepare import Finish, Finished, Found, Problem, Rows

CONVERTED = "converted"
"""Counts the images that were no RGB in their files."""
_CONTENT = "content"
_TRAVELLING = Schema((Column(_CONTENT, "uint8", (None,)), Column(LABEL, "int64"), Column(KEY, "string")))
_READERS = 8
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ReadImages:
    """The files of an item, in a task; several at once, since each is a question to a storage far away."""

    storage: Storage

    def __call__(self, item: Item) -> Iterator[Found]:
        yield from item.problems
        if not item.files:
            return
        paths, labels = zip(*item.files, strict=True)
        with ThreadPoolExecutor(_READERS, "read images") as readers:
            contents = list(readers.map(self.storage.read, paths))
        cells = [np.frombuffer(content, np.uint8) for content in contents]
        yield Rows({_CONTENT: cells, LABEL: np.array(labels, np.int64), KEY: list(paths)}, ALL)


@dataclass(frozen=True)
class Way:
    """How features are made. json: where those of each image are written too. The rest: see `PrepareOptions`."""

    convert: bool
    batch_size: int
    precision: str
    json: Storage | None


def finish(extractor: Extractor, way: Way) -> Finish:
    """Makes features of the images that have travelled."""
    return Finish(_TRAVELLING, _MakeFeatures(extractor, way), max(_ROWS_AT_ONCE, way.batch_size))


@dataclass(frozen=True)
class _MakeFeatures:
    extractor: Extractor
    way: Way

    def __call__(self, rows: Mapping[str, Decoded]) -> Finished:
        way, keys = self.way, rows[KEY]
        _keep_memory()
        with task_device() as device:
            network = _loaded(self.extractor, way.precision, device)
            contents = [np.asarray(content).tobytes() for content in rows[_CONTENT]]
            made = extract(network, contents, convert=way.convert, batch_size=way.batch_size)
        kept = [str(keys[row]) for row in made.kept]
        if way.json is not None:
            _write(way.json, kept, made.features)
        labels = np.asarray(rows[LABEL])[made.kept]
        problems = {row: Problem(str(keys[row]), reason) for row, reason in made.problems.items()}
        values = {FEATURES: made.features, LABEL: labels, KEY: kept}
        return Finished(values, problems, Counter({CONVERTED: made.converted}))


@lru_cache(maxsize=1)
def _keep_memory() -> ExitStack:
    """Keeps what torch frees for the next task, as long as this worker of Spark lives: asking the system for it anew
    takes a fifth of the time of a small network. Spark ends workers that have been idle for a minute.
    """
    kept = ExitStack()
    kept.enter_context(kept_memory())
    return kept


@lru_cache(maxsize=2)
def _loaded(extractor: Extractor, precision: str, device: torch.device) -> Network:
    """The network of this process. Workers of Spark live longer than tasks."""
    return extractor.network(precision).to(device)


def _write(storage: Storage, keys: Sequence[str], features: np.ndarray) -> None:
    """A task that is run again writes the same files."""
    with ThreadPoolExecutor(_READERS, "write JSON") as writers:
        list(writers.map(storage.write, map(json_path, keys), map(to_json, features)))
