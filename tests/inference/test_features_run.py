"""Features of a run: what the layer gives for every row once, beside its key and label, for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from deep import DeepScores
from pyspark.sql import SparkSession
from scores import points_of

from echelon.api import Run, fit
from echelon.data.manifest import Dataset, open_dataset
from echelon.data.schema import Column
from echelon.data.span import span_batches
from echelon.errors import DataError, EchelonError
from echelon.train.config import RunConfig

LAYER = "outer.middle"


@pytest.fixture(scope="module")
def deep(points: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("deep") / "run"
    return fit(DeepScores(), points, RunConfig(epochs=1, batch_size=20, eval_batch_size=4), run=folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_row_once_with_its_label_and_what_the_layer_gives_for_it(
    deep: Run, points: Dataset, tmp_path: Path, workers: int, spark: SparkSession
) -> None:
    out = deep.features(points, tmp_path / "out", layer=LAYER, workers=workers)
    assert open_dataset(out.url).manifest == out.manifest
    assert out.schema.names == ("row", "id", "y", "name", "weight", "key", "features")
    assert out.schema.column("features") == Column("features", "float32", (4, 2))
    assert out.info["layer"] == LAYER
    assert len(out.manifest.files("train")) == workers
    layer = deep.model().get_submodule(LAYER)
    for split, ids in (("train", range(60)), ("test", range(60, 77))):
        (rows,) = span_batches(out, split, None, 0, len(ids), len(ids))
        assert sorted(rows["id"].tolist()) == list(ids)
        assert rows["row"].tolist() == list(range(len(ids)))
        wanted = points_of(rows["id"].numpy())
        np.testing.assert_array_equal(rows["y"], wanted["y"])
        assert rows.strings("key") == wanted["key"]
        with torch.no_grad():
            by_hand = layer(torch.from_numpy(wanted["x"]))
        torch.testing.assert_close(rows["features"], by_hand, rtol=1e-5, atol=1e-6)


def test_layers_are_listed(deep: Run, points: Dataset) -> None:
    listed = {layer.name: layer for layer in deep.layers(points)}
    assert listed[LAYER].shape == (4, 2)
    assert listed["head"].shape == (1,)
    assert listed["outer.pair"].fault == "gives a tuple, not one tensor"


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_deleted_for_a_layer_that_cannot_be_written(
    deep: Run, points: Dataset, tmp_path: Path, workers: int, spark: SparkSession
) -> None:
    out = tmp_path / "out"
    with pytest.raises(EchelonError, match=r"no layer 'middle'; there are: outer\.middle, "):
        deep.features(points, out, layer="middle", workers=workers)
    assert not out.exists()
    old = deep.features(points, out, layer=LAYER, split="test")
    with pytest.raises(DataError, match="already a dataset"):
        deep.features(points, out, layer=LAYER, workers=workers)
    with pytest.raises(EchelonError, match=r"the layer 'outer\.pair' gives a tuple"):
        deep.features(points, out, layer="outer.pair", workers=workers, overwrite=True)
    assert open_dataset(str(out)).manifest == old.manifest


def test_the_pass_may_have_another_batch_and_precision_than_the_run(deep: Run, points: Dataset, tmp_path: Path) -> None:
    kinds = {
        "fp32": deep.features(points, tmp_path / "fp32", layer="head", split="test", batch_size=5),
        "bf16": deep.features(points, tmp_path / "bf16", layer="head", split="test", precision="bf16"),
    }
    full, half = (next(span_batches(out, "test", ("features",), 0, 17, 17))["features"] for out in kinds.values())
    assert not torch.equal(full, half)
    torch.testing.assert_close(full, half, rtol=0.1, atol=0.1)
    assert torch.equal(half, half.bfloat16().float()), "what was computed in half precision has its digits"
    with pytest.raises(EchelonError, match="--precision must be fp32 or bf16, got 'fp8'"):
        deep.predict(points, tmp_path / "out", precision="fp8")
    with pytest.raises(EchelonError, match="--eval-batch-size must be a whole number of at least 1, got 0"):
        deep.evaluate(points, batch_size=0)
