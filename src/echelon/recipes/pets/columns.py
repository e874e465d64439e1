"""A dataset of pets: its columns, and what it says of its breeds and of the network that made its features."""

from __future__ import annotations

from dataclasses import dataclass

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.errors import DataError
from echelon.recipes.pets.networks.extractor import Extractor

FEATURES, LABEL, KEY = "features", "label", "key"
ALL = "all"
"""The only split: what is trained on and what is tested is for each training to say."""
UNKNOWN = -1
"""The label of an image whose breed is unknown, or none of those that a model knows."""
WEIGHTS = "weights"
"""The asset with the numbers of the network, see `networks.choice.network_of`."""


@dataclass(frozen=True)
class Described:
    """What a dataset says of itself.

    classes: the breeds in the order of the labels. features: numbers of each image. extractor: what made them of
    images; None where they were read from JSON files.
    """

    classes: tuple[str, ...]
    features: int
    extractor: Extractor | None


def schema_of(features: int) -> Schema:
    """The columns of a dataset: "features" (float32 [features]), "label" (int64, index of the breed, -1 if unknown) and
    "key" (string, the path of the image within its source).
    """
    return Schema((Column(FEATURES, "float32", (features,)), Column(LABEL, "int64"), Column(KEY, "string")))


def described(dataset: Dataset) -> Described:
    """What a dataset of pets says of itself.

    Raises:
        DataError: it is none.
    """
    schema, info = dataset.schema, dataset.info
    if not {FEATURES, LABEL, KEY} <= set(schema.names) or "classes" not in info:
        raise DataError(
            f"{dataset.url} is not a dataset of features of pets (columns: {', '.join(schema.names)}): "
            "write one with 'echelon pets prepare'"
        )
    (features,) = schema.column(FEATURES).shape
    assert features is not None
    asset = dataset.manifest.assets.get(WEIGHTS)
    extractor = (
        Extractor(info["model"], dataset.url, asset.path, info["weights"], bool(info.get("mirrored")))
        if asset is not None
        else None
    )
    return Described(tuple(info["classes"]), features, extractor)
