"""Seconds for the 37 one-against-all support vector machines of pets, beside Spark's MLlib and scikit-learn.

    python benchmarks/pets_svm.py [--images 7349] [--features 4096] [--breeds 37] [--threads 4] [--without-mllib]

Features are made, of the size of the Oxford-IIIT Pet dataset's by VGG16, and divided 7:3. All sides get the same rows
in memory, of length 1, and the same C; MLlib's hinge loss is not squared, its regParam is 1/(C·rows), and a DataFrame
with its rows is in Spark's memory before its clock starts. Claims: 10 times MLlib, with an accuracy of no less than a
point below the best. Then one pair, from a dataset of features to results.txt by the command with the start of its
process: at most 10 s; by --solver steps on two workers that includes the start of Spark.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measured import Outcome, told
from numpy.typing import NDArray

from echelon.data.write import write_dataset
from echelon.recipes.pets.columns import schema_of
from echelon.recipes.pets.division import drawn, held_out
from echelon.recipes.pets.svm import solve

COST = 1.0
OF_MLLIB, POINT, PAIR_SECONDS = 10.0, 0.01, 10.0
DEADLINE = 1500.0


@dataclass(frozen=True)
class Rows:
    """What is trained and tested on: rows of length 1, float32 [n, features], and labels."""

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]


Side = Callable[[Rows], tuple[float, NDArray[np.int64]]]
"""Seconds of the training, and the labels said of the test rows."""


def made(images: int, features: int, breeds: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rectified features: what belongs to a breed, what many share, and noise, so that a few in a hundred are wrong."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % breeds
    of_breed = random.normal(0, 0.16, (breeds, features)).astype(np.float32)
    shared = random.normal(0, 0.25, (60, features)).astype(np.float32)
    values = random.standard_normal((images, features), np.float32)
    values += of_breed[labels] + random.standard_normal((images, 60), np.float32) @ shared
    return np.maximum(values - 0.3, 0), labels


def ours(rows: Rows) -> tuple[float, NDArray[np.int64]]:
    begin = time.perf_counter()
    wide = np.concatenate([rows.train, np.ones((len(rows.train), 1), np.float32)], axis=1)
    labels = torch.from_numpy(rows.train_labels)
    signs = (labels[:, None] == torch.arange(int(labels.max()) + 1)).float() * 2 - 1
    weights = solve(torch.from_numpy(wide), signs, COST).weights.numpy()
    seconds = time.perf_counter() - begin
    return seconds, (rows.test @ weights[:-1] + weights[-1]).argmax(1)


def of_sklearn(rows: Rows) -> tuple[float, NDArray[np.int64]]:
    from sklearn.svm import LinearSVC

    begin = time.perf_counter()
    model = LinearSVC(C=COST).fit(rows.train, rows.train_labels)
    return time.perf_counter() - begin, model.predict(rows.test)


def of_mllib(rows: Rows) -> tuple[float, NDArray[np.int64]]:
    from pyspark.ml.classification import LinearSVC, OneVsRest
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col

    from echelon.spark.session import session

    spark = session(f"local[{os.cpu_count()}]", 1, {"spark.driver.memory": "8g"})
    with tempfile.TemporaryDirectory() as folder:
        _write_parquet(Path(folder) / "train.parquet", rows.train, rows.train_labels)
        _write_parquet(Path(folder) / "test.parquet", rows.test, rows.test_labels)

        def frame(name: str):
            read = spark.read.parquet(f"{folder}/{name}.parquet").repartition(os.cpu_count() or 1)
            return read.select(array_to_vector(col("features")).alias("features"), "label", "row").cache()

        train, test = frame("train"), frame("test")
        train.count(), test.count()
        begin = time.perf_counter()
        svm = LinearSVC(maxIter=100, regParam=1 / (COST * len(rows.train)), standardization=False)
        model = OneVsRest(classifier=svm).fit(train)
        seconds = time.perf_counter() - begin
        said = np.empty(len(rows.test_labels), np.int64)
        for line in model.transform(test).select("row", "prediction").collect():
            said[line.row] = int(line.prediction)
    spark.stop()
    return seconds, said


def _write_parquet(path: Path, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1).astype(np.float64)), features.shape[1])
    columns = {"features": values.cast(pa.list_(pa.float64())), "label": pa.array(labels.astype(np.float64)),
               "row": pa.array(np.arange(len(labels)))}  # fmt: skip
    pq.write_table(pa.table(columns), path, row_group_size=512)


def pair_seconds(dataset: Path, run: Path, *flags: str) -> float:
    """Of the whole command for one pair."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "echelon", "pets", "train", str(dataset), "--run", str(run),
               "--breed", "Breed_03", "--against", "Breed_11", *flags]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    seconds = time.perf_counter() - begin
    assert (run / "results.txt").exists()
    return seconds


def written(folder: Path, features: NDArray[np.float32], labels: NDArray[np.int64], breeds: int) -> Path:
    names = [f"Breed_{number:02d}" for number in range(breeds)]
    keys = [f"{names[label]}_{row}.jpg" for row, label in enumerate(labels.tolist())]
    info = {"classes": names, "counts": {"all": dict(zip(names, np.bincount(labels).tolist(), strict=True))}}
    rows = {"features": features, "label": labels, "key": keys}
    write_dataset(str(folder), schema_of(features.shape[1]), {"all": [rows]}, info=info)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=7349)
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--breeds", type=int, default=37)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--without-mllib", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    features, labels = made(asked.images, asked.features, asked.breeds)
    test = held_out(labels, drawn(labels, [str(row) for row in range(len(labels))], 0), 0.3)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = Rows(unit[~test], labels[~test], unit[test], labels[test])
    sides: dict[str, Side] = {"ours": ours, "scikit-learn's LinearSVC": of_sklearn}
    if not asked.without_mllib:
        sides["MLlib's OneVsRest(LinearSVC)"] = of_mllib
    found = {name: side(rows) for name, side in sides.items()}
    right = {name: float((said == rows.test_labels).mean()) for name, (_, said) in found.items()}
    seconds = {name: spent for name, (spent, _) in found.items()}
    told_by = [Outcome(name, seconds[name], unit=" s", rest=f"accuracy {right[name]:.2%}") for name in found]
    mllib = seconds.get("MLlib's OneVsRest(LinearSVC)")
    outcomes = [
        *told_by,
        Outcome("times MLlib", mllib / seconds["ours"] if mllib else None, OF_MLLIB, unit=" ×"),
        Outcome("times scikit-learn", seconds["scikit-learn's LinearSVC"] / seconds["ours"], unit=" ×"),
        Outcome("accuracy below the best", max(right.values()) - right["ours"], POINT, at_least=False),
    ]
    with tempfile.TemporaryDirectory() as folder:
        dataset = written(Path(folder) / "dataset", features, labels, asked.breeds)
        memory = pair_seconds(dataset, Path(folder) / "memory")
        steps = pair_seconds(dataset, Path(folder) / "steps", "--solver", "steps", "--workers", "2", "--epochs", "20")
        outcomes += [
            Outcome("one pair, in memory", memory, PAIR_SECONDS, at_least=False, unit=" s"),
            Outcome("one pair, in steps, with Spark", steps, unit=" s", rest="2 workers, 20 epochs"),
        ]
    return told(f"{asked.breeds} classes, {len(rows.train):,} × {asked.features:,}", outcomes)


if __name__ == "__main__":
    sys.exit(main())
