"""Datasets as `prepare` writes them, without Spark."""

from pathlib import Path

import numpy as np

from echelon.data.manifest import Dataset
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.made import made_images

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
SIZE = (12, 10)


def small_dataset(
    folder: Path, rows: dict[str, int], classes: list[str] | None = None, size: tuple[int, int] = SIZE
) -> Dataset:
    """Made images of some classes, as `prepare` writes them."""
    names = classes or CLASSES
    schema = Schema((Column("image", "uint8", (3, *size)), Column("label", "int64"), Column("key", "string")))
    splits, counts, mean = {}, {}, np.zeros((3, *size), np.float32)
    for number, (split, count) in enumerate(rows.items()):
        images, labels = made_images(count, len(names), size, seed=number)
        splits[split] = [{"image": images, "label": labels, "key": [f"{split}/{i}" for i in range(count)]}]
        counts[split] = {name: int((labels == label).sum()) for label, name in enumerate(names)}
        if split == "train":
            mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
    info = {"classes": names, "counts": counts}
    return write_dataset(str(folder), schema, splits, info=info, assets={"mean": mean})
