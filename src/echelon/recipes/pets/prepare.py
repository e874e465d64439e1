"""From images of pets to a dataset of their features, by tasks of Spark."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echelon.data.cells import Decoded
from echelon.data.commit import asset_path
from echelon.data.manifest import Dataset
from echelon.data.storage import open_storage
from echelon.device import default_device
from echelon.errors import DataError
from echelon.recipes.pets.columns import ALL, LABEL, UNKNOWN, WEIGHTS, schema_of
from echelon.recipes.pets.json_rows import ReadJson, from_json, json_path
from echelon.recipes.pets.networks.choice import NETWORKS
from echelon.recipes.pets.networks.extractor import Extractor, digest_of
from echelon.recipes.pets.networks.weights import AUTO, weights_of
from echelon.recipes.pets.options import Fitting, PrepareOptions
from echelon.recipes.pets.sources import Item, Source, find_source
from echelon.recipes.pets.travelling import CONVERTED, Way, finish, placed
from echelon.spark import prepare as spark
from echelon.train.precision import check_precision

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from echelon.spark.job import OnProgress

_PARTS = 64
_LEAST_A_PART, _MOST_A_PART = 32, 512
_log = logging.getLogger(__name__)


def prepare(
    session: SparkSession,
    source: str,
    url: str,
    options: PrepareOptions,
    *,
    fitting: Fitting | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Writes the features of images as a dataset at a URL, see `schema_of`; it has one split, "all".

    Its info has the names of the breeds in the order of their labels ("classes"), how many images there are of each
    ("counts", by split), the network ("model", "weights": the digest of its numbers, "weights_from", "mirrored",
    "precision"; None where features were read), where its files are ("files", and "images" if they are such), how many
    images were no RGB ("converted"), how many files were of another kind ("others"), and what was left out. Its asset
    "weights" is the network, float32 [parameters].

    Args:
        source: see `find_source`. fitting: the dataset is for this model, to evaluate or to predict: it has its breeds
            and its network, images that are no RGB are converted, and others have the label -1.
        overwrite: whether a dataset at this URL may be replaced. on_progress: called from time to time.

    Raises:
        DataError: the source or the weights are not what they should be, or not one image is good. EchelonError: the
        weights cannot be downloaded, Pillow is not installed, or Spark's tasks failed.
    """
    found = find_source(source, fitting.classes if fitting is not None else None)
    if options.json is not None:
        _check_json(found, options.json, again=overwrite or options.resume)
    if found.is_json:
        work = _read_json(found, fitting)
    else:
        _check_images(source, fitting)
        work = _extract(found, url, options, fitting)
    dataset, _ = spark.prepare_dataset(
        session,
        url,
        schema_of(work.features),
        found.items,
        work.rows_of,
        finish=work.finish,
        conclude=_Conclude(found, work.info),
        sums_of=_Counts(len(found.classes)),
        parts=_parts(len(found.paths)),
        assets=work.assets,
        shuffle_seed=options.shuffle_seed,
        overwrite=overwrite,
        resume=options.resume,
        on_progress=on_progress,
    )
    return dataset


@dataclass(frozen=True)
class _Work:
    """What is done with the files. features: numbers of each row. info, assets: of the dataset."""

    features: int
    rows_of: Callable[[Item], Iterator[spark.Found]]
    finish: spark.Finish | None
    info: Mapping[str, Any]
    assets: Mapping[str, np.ndarray]


def _extract(source: Source, url: str, options: PrepareOptions, fitting: Fitting | None) -> _Work:
    """Images go through a network."""
    json = open_storage(options.json) if options.json is not None else None
    if remark := check_precision(options.precision, default_device()):
        _log.warning("%s", remark)
    way = Way(source.storage, options.convert or fitting is not None, options.batch_size, options.precision, json)
    if fitting is not None and fitting.extractor is not None:
        extractor, assets, origin = fitting.extractor, {}, fitting.extractor.folder
    else:
        weights = weights_of(options.model, options.weights, None if options.scaling == AUTO else options.scaling)
        place = open_storage(url).url
        extractor = Extractor(options.model, place, asset_path(WEIGHTS), digest_of(weights), options.mirror)
        assets, origin = {WEIGHTS: weights}, options.weights
    info = {"model": extractor.model, "weights": extractor.digest, "weights_from": origin,
            "mirrored": extractor.mirrored, "precision": way.precision}  # fmt: skip
    features = NETWORKS[extractor.model].features
    return _Work(features, placed, finish(extractor, way), info, assets)


def _read_json(source: Source, fitting: Fitting | None) -> _Work:
    """Features are read."""
    features = fitting.features if fitting is not None else _width(source)
    info = dict.fromkeys(("model", "weights", "weights_from", "mirrored", "precision"))
    return _Work(features, ReadJson(source.storage, features), None, info, {})


def _width(source: Source) -> int:
    """How many numbers the first good file has.

    Raises:
        DataError: none is good.
    """
    first = ""
    for path in source.paths:
        try:
            return len(from_json(source.storage.read(path)))
        except DataError as error:
            first = first or f"{path}: {error}"
    raise DataError(f"not one of {len(source.paths)} JSON files has features; {first}")


def _check_images(source: str, fitting: Fitting | None) -> None:
    """
    Raises:
        DataError: the model takes no images.
    """
    if fitting is not None and fitting.extractor is None:
        raise DataError(
            "the model was trained on features that were read from JSON files, so nobody knows how to make them of the "
            f"images at {source}: give JSON files, or train on features that 'echelon pets prepare' made of images"
        )


def _check_json(source: Source, url: str, *, again: bool) -> None:
    """
    Raises:
        DataError: the features of two images would be one file, are read from such files, or are there already, unless
            they may be written again.
    """
    if source.is_json:
        raise DataError(f"--json {url}: the features come from JSON files already")
    targets = Counter(map(json_path, source.paths))
    for path, count in targets.most_common(1):
        if count > 1:
            raise DataError(f"--json {url}: {count} images would be {path} there, since only their endings differ")
    there = [] if again else sorted(entry.path for entry in open_storage(url).list() if entry.path in targets)
    if there:
        raise DataError(
            f"--json {url}: {len(there)} of these files are there already, such as {there[0]}: choose another folder, "
            "or write them again with --overwrite"
        )


def _parts(files: int) -> int:
    """A part is what a killed prepare loses at most, and there are enough for the cores of a small cluster."""
    return -(-files // min(max(-(-files // _PARTS), _LEAST_A_PART), _MOST_A_PART))


@dataclass(frozen=True)
class _Counts:
    """How many of some rows are of each breed."""

    classes: int

    def __call__(self, split: str, rows: Mapping[str, Decoded]) -> Mapping[str, np.ndarray]:
        labels = np.asarray(rows[LABEL])
        return {"counts": np.bincount(labels[labels != UNKNOWN], minlength=self.classes)}


@dataclass(frozen=True)
class _Conclude:
    """What the dataset says of itself."""

    source: Source
    info: Mapping[str, Any]

    def __call__(self, summary: spark.Summary) -> spark.Addition:
        classes, counts = self.source.classes, summary.sums[ALL]["counts"]
        info = {
            "recipe": "pets",
            **self.info,
            "classes": list(classes),
            "counts": {ALL: dict(zip(classes, counts.tolist(), strict=True))},
            "unlabelled": summary.rows[ALL] - int(counts.sum()),
            "converted": summary.counts.get(CONVERTED, 0),
            "others": self.source.others,
            "images": None if self.source.is_json else self.source.storage.url,
            "files": self.source.storage.url,
            **summary.info,
        }
        return spark.Addition(info, {})
