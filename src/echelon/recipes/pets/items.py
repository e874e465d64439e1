"""Single images to features, in this process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from echelon.data.batch import Batch
from echelon.data.storage import open_storage
from echelon.errors import DataError, StorageError
from echelon.recipes.pets.columns import FEATURES, LABEL, UNKNOWN
from echelon.recipes.pets.extract import extract
from echelon.recipes.pets.learner import SvmLearner
from echelon.recipes.pets.networks.extractor import Extractor
from echelon.recipes.pets.networks.network import Network

TOLD = 5
"""So many scores are printed of an image, the greatest ones."""
_log = logging.getLogger(__name__)


def batch_of(learner: SvmLearner, paths: Sequence[str]) -> Batch:
    """Images at paths or URLs as rows for a learner; a warning for each that cannot be read.

    Raises:
        DataError: nobody knows what made the features that the model was trained on, or its weights are gone.
    """
    extractor = learner.fitting.extractor
    if extractor is None:
        raise DataError(
            "the model was trained on features that were read from files, so nobody knows what makes them of images: "
            "give a folder of such JSON files"
        )
    network = _network(extractor)
    read = [_read(path) for path in paths]
    there = [place for place, content in enumerate(read) if content is not None]
    found = extract(network, [content for content in read if content is not None], convert=True)
    for number, reason in found.problems.items():
        _log.warning("%s is left out: %s", paths[there[number]], reason)
    kept = np.array([there[number] for number in found.kept], np.int64)
    columns = {FEATURES: torch.from_numpy(found.features), LABEL: torch.full((len(kept),), UNKNOWN)}
    return Batch(columns, torch.from_numpy(kept))


def answer_of(learner: SvmLearner, row: Mapping[str, Any]) -> dict[str, Any]:
    """What is printed of an image: its breed, and the greatest scores by breed."""
    scores = dict(zip(learner.problem.outputs, row["scores"], strict=True))
    greatest = sorted(scores.items(), key=lambda item: -item[1])[:TOLD]
    return {"breed": row["breed"], "scores": {name: round(score, 4) for name, score in greatest}}


@lru_cache(maxsize=1)
def _network(extractor: Extractor) -> Network:
    """Loading it takes longer than an image does."""
    return extractor.network()


def _read(path: str) -> bytes | None:
    folder, slash, name = path.rpartition("/")
    try:
        return open_storage(folder or slash or ".").read(name)
    except (FileNotFoundError, IsADirectoryError, StorageError) as error:
        _log.warning("%s is left out: %s", path, error)
        return None
