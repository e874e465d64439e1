"""Seconds for the 37 one-against-all support vector machines of pets, beside Spark's MLlib and scikit-learn.

    python benchmarks/pets_svm.py [--images 7349] [--features 4096] [--breeds 37] [--threads 4] [--mllib-seconds 240]

Features are made, of the size of the Oxford-IIIT Pet dataset's by VGG16, and divided 7:3. All sides get the same rows
in memory, of length 1, and the same C; MLlib's hinge loss is not squared, its regParam is 1/(C·rows), and a DataFrame
with its rows is in Spark's memory before its clock starts. MLlib trains one breed after the other, as its OneVsRest
does, until --mllib-seconds are over, and at least one; the ratio is that of the same breeds on both sides, which is to
our disadvantage where they are few, since we train all at once. Claims: 10 times MLlib, with a mean area under the
curve of no less than a point below MLlib's over these breeds, and an accuracy over all of no less than a point below
scikit-learn's. Then one pair, from a dataset of features to results.txt by the command with the start of its process:
at most 10 s; by --solver steps on two workers that includes the start of Spark.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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


@dataclass(frozen=True)
class Rows:
    """What is trained and tested on: rows of length 1, float32 [n, features], and labels."""

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """What a side made. seconds: of the training. scores: of the test rows, float [n, breeds]."""

    seconds: float
    scores: NDArray[np.float64]

    def accuracy(self, rows: Rows) -> float:
        return float((self.scores.argmax(1) == rows.test_labels).mean())

    def area(self, rows: Rows) -> float:
        """The mean area under the curve over the breeds."""
        from sklearn.metrics import roc_auc_score

        return float(np.mean([roc_auc_score(rows.test_labels == k, its) for k, its in enumerate(self.scores.T)]))


def made(images: int, features: int, breeds: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rectified features: what belongs to a breed, what many share, and noise, so that a few in a hundred are wrong."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % breeds
    of_breed = random.normal(0, 0.16, (breeds, features)).astype(np.float32)
    shared = random.normal(0, 0.25, (60, features)).astype(np.float32)
    values = random.standard_normal((images, features), np.float32)
    values += of_breed[labels] + random.standard_normal((images, 60), np.float32) @ shared
    return np.maximum(values - 0.3, 0), labels


def ours(rows: Rows, breeds: int) -> Trained:
    """The first so many breeds, each against all."""
    begin = time.perf_counter()
    wide = np.concatenate([rows.train, np.ones((len(rows.train), 1), np.float32)], axis=1)
    signs = (torch.from_numpy(rows.train_labels)[:, None] == torch.arange(breeds)).float() * 2 - 1
    weights = solve(torch.from_numpy(wide), signs, COST).weights.numpy()
    seconds = time.perf_counter() - begin
    return Trained(seconds, rows.test @ weights[:-1] + weights[-1])


def of_sklearn(rows: Rows) -> Trained:
    from sklearn.svm import LinearSVC

    begin = time.perf_counter()
    model = LinearSVC(C=COST).fit(rows.train, rows.train_labels)
    return Trained(time.perf_counter() - begin, model.decision_function(rows.test))


def of_mllib(rows: Rows, breeds: int, most_seconds: float) -> Trained:
    """As many breeds as there is time for, from the first one on."""
    from pyspark.ml.classification import LinearSVC
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col

    from echelon.spark.session import session

    cores = os.cpu_count() or 1
    spark = session(f"local[{cores}]", 1, {"spark.driver.memory": "8g"})
    with tempfile.TemporaryDirectory() as folder:
        _write_parquet(Path(folder) / "train.parquet", rows.train, rows.train_labels)
        read = spark.read.parquet(f"{folder}/train.parquet").repartition(cores)
        train = read.select(array_to_vector(col("features")).alias("features"), "label").cache()
        train.count()
        svm = LinearSVC(maxIter=100, regParam=1 / (COST * len(rows.train)), standardization=False, labelCol="mine")
        scores: list[NDArray[np.float64]] = []
        begin = time.perf_counter()
        while len(scores) < breeds and (not scores or time.perf_counter() - begin < most_seconds):
            model = svm.fit(train.withColumn("mine", (col("label") == len(scores)).cast("double")))
            scores.append(rows.test @ model.coefficients.toArray() + model.intercept)
        seconds = time.perf_counter() - begin
    spark.stop()
    return Trained(seconds, np.stack(scores, 1))


def _write_parquet(path: Path, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1).astype(np.float64)), features.shape[1])
    columns = {"features": values.cast(pa.list_(pa.float64())), "label": pa.array(labels)}
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
    parser.add_argument("--mllib-seconds", type=float, default=240.0, help="0: without MLlib")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    features, labels = made(asked.images, asked.features, asked.breeds)
    test = held_out(labels, drawn(labels, [str(row) for row in range(len(labels))], 0), 0.3)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = Rows(unit[~test], labels[~test], unit[test], labels[test])
    outcomes = [*beside_sklearn(rows, asked.breeds), *beside_mllib(rows, asked.breeds, asked.mllib_seconds)]
    with tempfile.TemporaryDirectory() as folder:
        dataset = written(Path(folder) / "dataset", features, labels, asked.breeds)
        memory = pair_seconds(dataset, Path(folder) / "memory")
        steps = pair_seconds(dataset, Path(folder) / "steps", "--solver", "steps", "--workers", "2", "--epochs", "20")
        outcomes += [
            Outcome("one pair, in memory", memory, PAIR_SECONDS, at_least=False, unit=" s"),
            Outcome("one pair, in steps, with Spark", steps, unit=" s", rest="2 workers, 20 epochs"),
        ]
    return told(f"{asked.breeds} classes, {len(rows.train):,} × {asked.features:,}", outcomes)


def beside_sklearn(rows: Rows, breeds: int) -> Iterator[Outcome]:
    mine, theirs = ours(rows, breeds), of_sklearn(rows)
    for name, side in (("ours", mine), ("scikit-learn's LinearSVC", theirs)):
        yield Outcome(f"{name}, {breeds} breeds", side.seconds, unit=" s", rest=f"accuracy {side.accuracy(rows):.2%}")
    yield Outcome("times scikit-learn", theirs.seconds / mine.seconds, unit=" ×")
    yield Outcome("accuracy below scikit-learn's", theirs.accuracy(rows) - mine.accuracy(rows), POINT, at_least=False)


def beside_mllib(rows: Rows, breeds: int, most_seconds: float) -> Iterator[Outcome]:
    if not most_seconds:
        yield Outcome("times MLlib", None, OF_MLLIB, unit=" ×", rest="--mllib-seconds 0")
        return
    theirs = of_mllib(rows, breeds, most_seconds)
    some = theirs.scores.shape[1]
    mine = ours(rows, some)
    for name, side in (("ours", mine), ("MLlib's LinearSVC", theirs)):
        area = f"mean area under the curve {side.area(rows):.4f}"
        yield Outcome(f"{name}, the first {some} breeds", side.seconds, unit=" s", rest=area)
    yield Outcome(
        "times MLlib", theirs.seconds / mine.seconds, OF_MLLIB, unit=" ×", rest=f"{some} breeds on both sides"
    )
    yield Outcome("area below MLlib's", theirs.area(rows) - mine.area(rows), POINT, at_least=False)


if __name__ == "__main__":
    sys.exit(main())
