"""torch.compile in workers that Spark forks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import torch
from spark_learners import Line, write_line
from torch import nn

from echelon.api import fit, load
from echelon.train.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Deep(Line):
    """With something to fuse."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 1))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler here")
def test_workers_compile_at_the_same_time_and_leave_no_process_behind(tmp_path: Path, spark: SparkSession) -> None:
    data = write_line(str(tmp_path / "data"))
    models = []
    for compiled in (True, False):
        config = RunConfig(batch_size=50, epochs=2, eval_every="off", compile=compiled)
        fit(Deep(0.01), data, config, workers=2, run=tmp_path / f"run-{compiled}")
        models.append(load(tmp_path / f"run-{compiled}").state_dict())
    for name, tensor in models[1].items():
        torch.testing.assert_close(models[0][name], tensor, rtol=1e-4, atol=1e-5)
    alive = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    assert not [command for one in alive if "_inductor" in (command := " ".join(one.cmdline()))]
