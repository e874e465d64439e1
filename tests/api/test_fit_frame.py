"""`fit` on a Spark DataFrame, and predictions that can be joined back to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from line import LineLearner
from test_fit import points

import echelon
from echelon.data.span import span_batches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_frame_is_trained_on_and_its_predictions_carry_its_own_columns(spark: SparkSession, tmp_path: Path) -> None:
    made = points(300)
    rows = [(f"id-{i}", x.tolist(), float(y)) for i, (x, y) in enumerate(zip(made["x"], made["y"]))]
    frame = spark.createDataFrame(rows, "id string, x array<float>, y float").repartition(3)
    config = echelon.RunConfig(epochs=5, batch_size=20)

    run = echelon.fit(LineLearner(), frame, config, workers=2, run=tmp_path / "run")
    assert run.results["rows"] == 1500
    predicted = run.predict(frame, tmp_path / "out", workers=2)

    (batch,) = span_batches(predicted, "train", None, 0, 300, 300)
    fitted = dict(zip(batch.strings("id"), batch["fitted"].tolist()))
    assert len(fitted) == 300
    wanted = {name: y for name, _, y in rows}
    assert np.allclose([fitted[name] for name in wanted], list(wanted.values()), atol=1e-2)
    assert not list((tmp_path / "run" / "scratch").glob("**/*.parquet")), "the frame's copy is gone"
