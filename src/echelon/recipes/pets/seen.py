"""Which images of a dataset a model was trained on, known by where their files are."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from echelon.data.division import TRAIN
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.span import span_batches
from echelon.data.storage import open_storage
from echelon.errors import EchelonError
from echelon.recipes.pets.columns import KEY
from echelon.recipes.pets.division import PROBLEM, Divided

_BATCH = 4096
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What a model was trained on. prepared, digest: URL and digest of the dataset that was divided. The rest: see
    `Divided`.
    """

    prepared: str
    digest: str
    breed: str | None
    against: str
    test_fraction: float
    seed: int

    def files(self) -> set[str]:
        """The URLs of its images; none where they were not noted, or the dataset is gone or another, with a warning."""
        try:
            dataset = open_dataset(self.prepared)
        except (EchelonError, FileNotFoundError) as error:
            _log.warning("whether the model was trained on these images cannot be known: %s", error)
            return set()
        if dataset.digest != self.digest:
            _log.warning("whether the model was trained on these images cannot be known: %s was replaced", dataset.url)
            return set()
        if not (place := dataset.info.get("files")):
            return set()
        return set(map(open_storage(place).url_of, self.keys(dataset)))

    def keys(self, dataset: Dataset) -> list[str]:
        """The keys of its images in the dataset that was divided."""
        chosen = Divided(dataset, self.breed, self.against, self.test_fraction, self.seed).chosen()
        return chosen.keys_of(TRAIN)


def count_seen(dataset: Dataset, split: str, training: Training) -> int:
    """How many images of a split lie where images of a training do; 0 for a part of a division, which says it itself,
    and where nobody noted where the images lie.
    """
    if dataset.digest == training.digest:
        return len(training.keys(dataset))
    rows, place = dataset.rows(split), dataset.info.get("files")
    if PROBLEM in dataset.info or not place or not training.prepared:
        return 0
    trained, storage = training.files(), open_storage(place)
    batches = span_batches(dataset, split, (KEY,), 0, rows, _BATCH)
    return sum(storage.url_of(key) in trained for batch in batches for key in batch.strings(KEY))
