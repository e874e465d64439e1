"""Features as a network would give them, of made breeds, as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.recipes.pets.columns import ALL, schema_of


def made_features(
    images: int, breeds: int, features: int, *, noise: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rectified sums of what belongs to a breed and what does not: float32 [images, features], int64 [images]."""
    random = np.random.default_rng((seed, 0))
    labels = np.arange(images) % breeds
    of_breed, shared = random.normal(0, 1, (breeds, features)), random.normal(0, 1, (8, features))
    rest = random.normal(0, noise, (images, features)) + random.normal(0, noise, (images, 8)) @ shared
    return np.maximum(of_breed[labels] + rest, 0).astype(np.float32), labels


def names_of(breeds: int) -> list[str]:
    return [f"Breed_{number:02d}" for number in range(breeds)]


def dataset_of(
    folder: Path, features: NDArray[np.float32], labels: NDArray[np.int64], breeds: int, files: str | None = None
) -> Dataset:
    """As `echelon pets prepare` writes it. files: where the images lie."""
    names = names_of(breeds)
    rows = {
        "features": features,
        "label": labels,
        "key": [f"{names[label]}_{row}.jpg" for row, label in enumerate(labels.tolist())],
    }
    counts = dict(zip(names, np.bincount(labels, minlength=breeds).tolist(), strict=True))
    info = {"recipe": "pets", "classes": names, "counts": {ALL: counts}, "model": None, "weights": None,
            "files": files}  # fmt: skip
    return write_dataset(str(folder), schema_of(features.shape[1]), {ALL: [rows]}, info=info)
