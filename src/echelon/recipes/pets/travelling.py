"""How images travel through the shuffle: as the paths of their files, which are read and become features on arrival.

So each part of the dataset is a piece of the work with the network that need not be done again after a kill, and any
number of cores shares it. The bytes of a photograph would cost Spark's Java a tenth of the time of a small network.
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
from echelon.recipes.pixels.places import Place, read_each
from echelon.spark.device import task_device
from echelon.spark.prepare import Finish, Finished, Found, Problem, Rows

CONVERTED = "converted"
"""Counts the images that were no RGB in their files."""
_TRAVELLING = Schema((Column(LABEL, "int64"), Column(KEY, "string")))
_WRITERS = 8
_ROWS_AT_ONCE = 64


def placed(item: Item) -> Iterator[Found]:
    """The rows of the files of an item before they are read, in a task."""
    yield from item.problems
    if item.files:
        paths, labels = zip(*item.files, strict=True)
        yield Rows({LABEL: np.array(labels, np.int64), KEY: list(paths)}, ALL)


@dataclass(frozen=True)
class Way:
    """How features are made. storage: of the images. json: where those of each image are written too. The rest: see
    `PrepareOptions`.
    """

    storage: Storage
    convert: bool
    batch_size: int
    precision: str
    json: Storage | None


def finish(extractor: Extractor, way: Way) -> Finish:
    """Reads images and makes features of them."""
    return Finish(_TRAVELLING, _MakeFeatures(extractor, way), max(_ROWS_AT_ONCE, way.batch_size))


@dataclass(frozen=True)
class _MakeFeatures:
    extractor: Extractor
    way: Way

    def __call__(self, rows: Mapping[str, Decoded]) -> Finished:
        way, keys = self.way, list(map(str, rows[KEY]))
        _keep_memory()
        with task_device() as device:
            network = _loaded(self.extractor, way.precision, device)
            made = extract(network, self._contents(keys), convert=way.convert, batch_size=way.batch_size)
        kept = [keys[row] for row in made.kept]
        if way.json is not None:
            _write(way.json, kept, made.features)
        labels = np.asarray(rows[LABEL])[made.kept]
        problems = {row: Problem(keys[row], reason) for row, reason in made.problems.items()}
        values = {FEATURES: made.features, LABEL: labels, KEY: kept}
        return Finished(values, problems, Counter({CONVERTED: made.converted}))

    def _contents(self, keys: Sequence[str]) -> Iterator[bytes]:
        for content in read_each(self.way.storage, list(map(Place, keys))):
            assert content is not None  # since whole files are asked for
            yield content


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
    with ThreadPoolExecutor(_WRITERS, "write JSON") as writers:
        list(writers.map(storage.write, map(json_path, keys), map(to_json, features)))
