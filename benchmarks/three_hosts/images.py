"""The images that hosts train on, as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.recipes.images.cifar import read_binary
from echelon.recipes.images.made import made_images

CLASSES = [str(label) for label in range(10)]


def write_images(url: str, data: Path | None) -> str:
    """CIFAR-10's batches, or made images, as a dataset; its URL."""
    if data is not None:
        names = sorted(data.glob("data_batch_*.bin"))
        parts = {"train": [read_binary(path.read_bytes(), path.name) for path in names]}
        parts["test"] = [read_binary((data / "test_batch.bin").read_bytes(), "test_batch.bin")]
    else:
        parts = {"train": [made_images(20_000, 10)], "test": [made_images(600, 10, seed=1)]}
    mean = np.mean([images.mean(0) for images, _ in parts["train"]], axis=0, dtype=np.float32)
    schema = Schema((Column("image", "uint8", (3, 32, 32)), Column("label", "int64")))
    rows = {
        split: [{"image": images, "label": given.astype(np.int64)} for images, given in batches]
        for split, batches in parts.items()
    }
    labels = {split: np.concatenate([given for _, given in batches]) for split, batches in parts.items()}
    counts = {split: {name: int((given == int(name)).sum()) for name in CLASSES} for split, given in labels.items()}
    return write_dataset(url, schema, rows, info={"counts": counts}, assets={"mean": mean}).url
