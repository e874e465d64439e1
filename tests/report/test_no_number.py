"""A metric that is no number does not spoil the end of a run, and is shown as what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from linear import LinearLearner
from pages import checked
from torchmetrics import MeanMetric, Metric

from echelon.api import fit
from echelon.data.schema import Column, Schema
from echelon.data.write import write_dataset
from echelon.report.page import run_page
from echelon.report.recorded import read_run
from echelon.train.config import RunConfig


class UndefinedLearner(LinearLearner):
    """Has a metric over no rows."""

    def metrics(self) -> dict[str, Metric]:
        return {"undefined": MeanMetric(nan_strategy="ignore"), **super().metrics()}

    def update(self, metrics: dict[str, Metric], model, batch) -> None:  # type: ignore[no-untyped-def]
        metrics["undefined"].update(float("nan"))
        super().update({name: metric for name, metric in metrics.items() if name != "undefined"}, model, batch)


def test_a_run_with_an_undefined_metric_ends_well_and_has_a_page(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    rows = [{"x": x, "y": (x.sum(1) > 0).astype(np.int64)}]
    schema = Schema((Column("x", "float32", (4,)), Column("y", "int64")))
    dataset = write_dataset(str(tmp_path / "dataset"), schema, {"train": rows, "test": rows})

    run = fit(UndefinedLearner(), dataset, RunConfig(epochs=2, batch_size=20), run=tmp_path / "run")

    stored = json.loads((tmp_path / "run" / "results.json").read_text(), parse_constant=lambda text: 1 / 0)
    assert stored["state"] == "finished"
    assert stored["metrics"]["undefined"] is None
    assert next(iter(stored["metrics"])) == "undefined", "metrics keep the learner's order"
    page = run_page(read_run(run.url))
    checked(page)
    assert "undefined" in page
