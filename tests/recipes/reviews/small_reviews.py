"""Datasets of reviews as `prepare` writes them, without Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from echelon.data.manifest import Dataset
from echelon.data.write import write_dataset
from echelon.recipes.reviews.cleaning import Cleaning, tokens_of
from echelon.recipes.reviews.columns import CLASSES, schema_of
from echelon.recipes.reviews.vocabulary import Vocabulary

GOOD, BAD = ("good", "lovely", "warm"), ("bad", "ugly", "cold")
PLAIN = ("the", "coat", "is", "and", "sleeves", "were", "a", "colour", "of", "it")
VOCABULARY = Vocabulary((*PLAIN, *GOOD, *BAD, "not"))
LENGTH = 12


def written(count: int, seed: int, classes: int = 2) -> tuple[list[str], np.ndarray]:
    """Texts and their labels: each has as many good words as its label is high; some are longer than `LENGTH`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    texts = []
    for label in labels.tolist():
        good = 2 if classes == 2 and label else label
        bad = 2 - good if classes == 2 else classes - 1 - label
        words = [*random.choice(GOOD, good), *random.choice(BAD, bad), *random.choice(PLAIN, random.integers(1, 9))]
        texts.append(" ".join([*random.permutation(words), f"strange{random.integers(100)}"]))
    return texts, labels


def small_dataset(
    folder: Path, rows: Mapping[str, int], *, classes: int = 2, vocabulary: Vocabulary = VOCABULARY, text: bool = True
) -> Dataset:
    """Reviews of some splits."""
    names, splits, counts = CLASSES[classes], {}, {}
    for number, (split, count) in enumerate(rows.items()):
        texts, labels = written(count, number, classes)
        ids, lengths = vocabulary.encode(tokens_of(pa.array(texts), Cleaning()), LENGTH)
        columns = {"tokens": ids, "length": lengths, "label": labels, "key": [f"{split}:{i}" for i in range(count)]}
        splits[split] = [columns | ({"text": texts} if text else {})]
        counts[split] = {name: int((labels == label).sum()) for label, name in enumerate(names)}
    info = {"classes": list(names), "counts": counts, "ids": vocabulary.ids, "cleaning": asdict(Cleaning())}
    schema = schema_of(LENGTH, vocabulary.ids, text=text)
    return write_dataset(str(folder), schema, splits, info=info, assets={"words": vocabulary.to_asset()})
