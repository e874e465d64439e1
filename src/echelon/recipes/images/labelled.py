"""A dataset of labelled images: its columns, and what it says of its classes."""

from __future__ import annotations

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.errors import DataError

IMAGE, LABEL, KEY = "image", "label", "key"
MEAN = "mean"
"""The asset with the mean of the training images, float32 [3, H, W]."""


def schema_of(size: tuple[int, int]) -> Schema:
    """The columns of a dataset of images of one height and width."""
    return Schema((Column(IMAGE, "uint8", (3, *size)), Column(LABEL, "int64"), Column(KEY, "string")))


def described(dataset: Dataset) -> tuple[list[str], list[int]]:
    """The classes, and height and width, of a dataset of labelled images.

    Raises:
        DataError: it is none.
    """
    schema, classes = dataset.schema, dataset.info.get("classes")
    if classes is None or not {IMAGE, LABEL} <= set(schema.names) or len(schema.column(IMAGE).shape) != 3:
        raise DataError(
            f"{dataset.url} is not a dataset of labelled images (columns: {', '.join(schema.names)}): "
            "write one with 'echelon images prepare'"
        )
    _, height, width = schema.column(IMAGE).inner
    return list(classes), [height, width]


def check_fits(dataset: Dataset, classes: list[str], size: list[int]) -> None:
    """
    Raises:
        DataError: the labels of the dataset mean other classes than those that a model was trained on, or its images
            have another size.
    """
    its_classes, its_size = described(dataset)
    if its_classes != classes:
        raise DataError(
            f"the labels of {dataset.url} mean {', '.join(its_classes)}; the model was trained on "
            f"{', '.join(classes)}, in this order: give the raw files, which are labelled anew"
        )
    if its_size != size:
        raise DataError(
            f"the images of {dataset.url} are {its_size[1]}x{its_size[0]}, the model was trained on "
            f"{size[1]}x{size[0]}: give the raw files, or prepare them with this --size"
        )


def check_labelled(missing: int, images: int) -> None:
    """
    Raises:
        DataError: of so many images some labels are missing.
    """
    if missing:
        raise DataError(
            f"{missing} of {images} images have no label, so nothing can be measured on them: "
            "use predict, or give a source with labels"
        )
